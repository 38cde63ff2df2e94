"""A broker and a gateway to be measured: the simulator's parts without its people.

A user `load` may write and read every topic, so that one connection can speak for all terminals.
"""

import asyncio
import secrets
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from bench.load import Load
from bench.processes import children
from sim.api import Api
from sim.broker import Broker
from sim.gateway_process import GatewayProcess
from sim.options import AgentSpec, WorldOptions
from sim.polling import poll
from sim.ports import free_ports
from sim.prompt_cache import prompts
from sim.settings import gateway_toml, terminals_csv

LOAD_USER = "load"
AGENT = "agent"
EVENT_LANE = "mqtt.mqtt.events"
READY_S = 120.0
# Lines as in production.
QUIET = """
[log]
format = "json"
"""


class Rig:
    """One broker with one gateway. Agents are at `agent_uri`; terminals have no voice."""

    def __init__(
        self,
        *,
        terminals: int = 1,
        agent_uri: str = "sip:nobody@127.0.0.1:9",
        workers: int = 0,
        extra_toml: str = "",
        gateway: bool = True,
    ) -> None:
        """`workers` 0: no telephony; without `gateway` only the broker is started."""
        telephony = f"[telephony]\nenabled = {str(workers > 0).lower()}\n"
        self._options = WorldOptions(
            terminals=terminals,
            voices=0,
            pendants=0,
            agents=(AgentSpec(name=AGENT, uri=agent_uri, started=False),),
            min_workers=max(workers, 1),
            max_workers=max(workers, 1),
            spare_workers=0,
            extra_toml=QUIET + telephony + extra_toml,
            ready_deadline_s=READY_S,
        )
        self._ports = free_ports(phones=self._options.phones, workers=max(workers, 1))
        self._password = secrets.token_urlsafe(18)
        self._with_gateway = gateway
        self._stack = AsyncExitStack()
        self.import_s = 0.0  # of the list of terminals
        self.ready_s = 0.0  # from the gateway's process start to its readiness

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @property
    def store(self) -> Path:
        """Return the gateway's SQLite file."""
        return self.directory / "data" / "onekey.sqlite"

    @property
    def port(self) -> int:
        """Return the broker's port."""
        return self._ports.mqtt

    @property
    def password(self) -> str:
        """Return the password of LOAD_USER."""
        return self._password

    def load(self, name: str = "load") -> Load:
        """Return a connection that may everything."""
        return Load(port=self.port, user=LOAD_USER, password=self._password, name=name)

    def worker_pids(self) -> list[int]:
        """Return the processes below the daemon: the workers and what starts them."""
        return children(self.gateway.pid)

    async def restart(self) -> None:
        """End the gateway and start it again; sets `ready_s`."""
        await self.gateway.stop(deadline=30)
        await self.start_gateway()

    async def start_gateway(self) -> None:
        """Start the gateway; sets `ready_s`."""
        begun = time.perf_counter()
        await self.gateway.start()
        # Ready may be said before a driver has told of its first link.
        await poll(self._listens, "the event lane", deadline=READY_S)
        self.ready_s = time.perf_counter() - begun

    async def _listens(self) -> bool:
        answer = await self.gateway.api.request("GET", "/health/ready")
        return bool(answer.json()["parts"].get(EVENT_LANE) == "ok")

    async def _start(self) -> None:
        self.directory = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        )
        self.broker = Broker(self.directory / "broker", port=self._ports.mqtt)
        self._stack.push_async_callback(self.broker.stop)
        await self.broker.start()
        with (self.directory / "broker" / "acl").open("a", encoding="utf-8") as acl:
            acl.write(f"\nuser {LOAD_USER}\ntopic readwrite #\n")
        await self.broker.add_users({LOAD_USER: self._password})  # makes it read both files again
        if self._with_gateway:
            await self._prepare_gateway()
            self._stack.push_async_callback(self._stop_gateway)
            await self.start_gateway()

    async def _prepare_gateway(self) -> None:
        password, terminals = self.directory / "password", self.directory / "terminals.csv"
        password.write_text(self.broker.gateway_password, "utf-8")
        (self.directory / "run").mkdir()
        text = gateway_toml(
            self._options,
            self._ports,
            data_dir=self.directory / "data",
            run_dir=self.directory / "run",
            prompts=await prompts(self.directory / "prompts.log"),
            password_file=password,
            mqtt_user=self.broker.gateway_user,
        )
        config = self.directory / "gateway.toml"
        config.write_text(text, "utf-8")
        terminals.write_text(terminals_csv(self._options, self._ports), "utf-8")
        api = await self._stack.enter_async_context(Api(f"http://127.0.0.1:{self._ports.web}"))
        self.gateway = GatewayProcess(
            config, api=api, log=self.directory / "gateway.log", ready_deadline_s=READY_S
        )
        begun = time.perf_counter()
        await self.gateway.command("terminals", "import", str(terminals))
        self.import_s = time.perf_counter() - begun

    async def _stop_gateway(self) -> None:
        await self.gateway.stop(deadline=30)


async def settle(seconds: float) -> None:
    """Let what was started come to rest; a measurement follows."""
    await asyncio.sleep(seconds)

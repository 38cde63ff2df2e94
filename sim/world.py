"""A complete world: broker, gateway, agents' phones and pendants, started and ended in order.

    async with World(directory, WorldOptions(terminals=3, voices=1)) as world:
        event = world.pendants["P-0001"].press("sos")
        await world.agents["agent-1"].wait("invite", deadline=5)

Everything it makes lies in `directory`; everything it starts is ended at the end, whatever comes.
"""

import secrets
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

import structlog

from sim.api import Api, Response
from sim.broker import Broker, BrokerError
from sim.child import ChildError
from sim.gateway_process import GatewayProcess
from sim.options import TERMINAL_TONE_HZ, WorldOptions, terminal_id
from sim.passwords import Passwords
from sim.pendant import Account, Pendant
from sim.phone import NEVER, Behaviour, Phone
from sim.ports import Ports, free_ports
from sim.progress import Progress
from sim.prompt_cache import prompts
from sim.settings import gateway_toml, terminals_csv
from sim.survivors import sweep

log = structlog.get_logger()

MQTT_USER = "gateway"
# In the environment of all children, and so of their children: finds what outlives its parent.
MARK = "ONEKEY_SIM_WORLD"
# sun_path holds 107 bytes (unix(7)); this leaves room for "/worker-1000.sock" and a draft's name.
SOCKET_DIR_MAX = 80

_Part = TypeVar("_Part")


class WorldError(Exception):
    """A part of the world could not be started; the text tells which and shows its log."""


class World:
    """One world, used once; its parts may be stopped and started again inside."""

    def __init__(
        self,
        directory: Path,
        options: WorldOptions | None = None,
        *,
        ports: Ports | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Plan a world in `directory`; without `ports`, on ports that are free now."""
        self.directory = directory.absolute()
        self.options = options or WorldOptions()
        self.ports = ports or free_ports(
            phones=self.options.phones, workers=self.options.max_workers
        )
        self.agents: dict[str, Phone] = {}
        self.pendants: dict[str, Pendant] = {}
        self.leftovers: list[str] = []  # processes that had to be killed at the end
        self._voices: dict[str, Phone] = {}
        self._progress = progress or Progress(None)
        self._passwords = Passwords(self.directory / "secrets.json")
        self._mark = secrets.token_hex(8)
        self._run_dir = self.directory / "run"
        self._stack = AsyncExitStack()
        self._broker: Broker | None = None
        self._gateway: GatewayProcess | None = None
        self._api: Api | None = None

    @property
    def broker(self) -> Broker:
        """Return the broker: `stop`, `start`, `kill`, `restart`, `add_users`, `pid`, `log`."""
        return _there(self._broker)

    @property
    def gateway(self) -> GatewayProcess:
        """Return the gateway: `kill(signal)`, `start()`, `stop()`, `ready()`, `pid`."""
        return _there(self._gateway)

    @property
    def api(self) -> Api:
        """Return the client of the gateway's API and feed."""
        return _there(self._api)

    @property
    def config(self) -> Path:
        """Return the gateway's configuration file."""
        return self.directory / "gateway.toml"

    @property
    def data_dir(self) -> Path:
        """Return the gateway's data: store, recordings."""
        return self.directory / "data"

    @property
    def logs(self) -> Path:
        """Return the directory of all logs but mosquitto's, which is in `broker/`."""
        return self.directory / "logs"

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except (ChildError, BrokerError, TimeoutError, OSError) as error:
            await self.stop()
            raise WorldError(f"{error}\n(all logs: {self.logs})") from error
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """End everything, the last started first; stopping again does nothing."""
        await self._stack.aclose()

    async def http(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None
    ) -> Response:
        """Ask the gateway; returns status and text whatever the status."""
        return await self.api.request(method, path, body=body)

    async def incidents(self) -> list[dict[str, Any]]:
        """Return the newest 200 incidents as the API lists them."""
        answer = await self.http("GET", "/api/v1/incidents?limit=200")
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def incident(self, incident: str) -> dict[str, Any]:
        """Return one incident with `incident`, `note`, `timeline` and `calls`."""
        shown: dict[str, Any] = (await self.http("GET", f"/api/v1/incidents/{incident}")).json()
        return shown

    def account(self, terminal: str) -> Account:
        """Return the MQTT account of a terminal."""
        return Account(terminal=terminal, password=self._passwords[terminal], port=self.ports.mqtt)

    async def new_pendant(
        self,
        terminal: str,
        *,
        voice: bool = True,
        repeat_s: float | None = None,
        heartbeat_s: float = 60.0,
        behaviour: Behaviour | None = None,
    ) -> Pendant:
        """Start a terminal; with `voice` also its phone, if it was registered with one.

        One that is not registered gets a broker account: the gateway does not know it.
        """
        if terminal not in self._registered():
            await self.broker.add_users({terminal: self._passwords[terminal]})
        phone = await self._voice(terminal, behaviour) if voice else None
        pendant = Pendant(
            self.account(terminal),
            phone=phone,
            repeat_s=self.options.repeat_s if repeat_s is None else repeat_s,
            heartbeat_s=heartbeat_s,
        )
        self._stack.push_async_callback(pendant.stop)
        await pendant.start()
        self.pendants[terminal] = pendant
        return pendant

    async def new_agent(self, name: str, *, behaviour: Behaviour | None = None) -> Phone:
        """Start the phone of an agent in the options, in place of the one that runs, if any."""
        index = self.options.names.index(name)
        spec = self.options.agents[index]
        if name in self.agents:
            await self.agents.pop(name).stop()
        phone = self._phone(name, self.options.voices + index, behaviour or spec.behaviour)
        await self._start_phone(phone)
        self.agents[name] = phone
        return phone

    async def _start(self) -> None:
        for directory in (self.directory, self.data_dir, self.logs, self._sound):
            directory.mkdir(parents=True, exist_ok=True)
        self._stack.push_async_callback(self._sweep)
        with self._progress.step("提示音 prompts", "made"):
            spoken = await prompts(self.logs / "prompts.log")
        with self._progress.step(f"MQTT broker, port {self.ports.mqtt}"):
            await self._start_broker()
        with self._progress.step(f"网关 gateway, http://127.0.0.1:{self.ports.web}"):
            await self._start_gateway(spoken)
        for name, spec in zip(self.options.names, self.options.agents, strict=True):
            if not spec.uri and spec.started:
                with self._progress.step(f"坐席 {name}"):
                    await self.new_agent(name)
        for number in range(1, self.options.pendants + 1):
            with self._progress.step(f"终端 {terminal_id(number)}", "online"):
                await self.new_pendant(terminal_id(number))

    async def _start_broker(self) -> None:
        names = [MQTT_USER, *self._registered()]
        users = dict(self._passwords.prepare(names))
        self._broker = Broker(
            self.directory / "broker",
            port=self.ports.mqtt,
            gateway_user=MQTT_USER,
            gateway_password=users.pop(MQTT_USER),
            users=users,
        )
        self._stack.push_async_callback(self._broker.stop)
        await self._broker.start()

    async def _start_gateway(self, spoken: Path) -> None:
        self._write_config(spoken)
        self._api = await self._stack.enter_async_context(Api(f"http://127.0.0.1:{self.ports.web}"))
        self._gateway = GatewayProcess(
            self.config,
            api=self._api,
            log=self.logs / "gateway.log",
            env={**self.options.gateway_env, MARK: self._mark},
            ready_deadline_s=self.options.ready_deadline_s,
        )
        await self._gateway.command("terminals", "import", str(self.directory / "terminals.csv"))
        self._stack.push_async_callback(self._gateway.stop)
        await self._gateway.start()

    def _write_config(self, spoken: Path) -> None:
        password = self.directory / "gateway-password"
        password.touch(mode=0o600)
        password.write_text(self._passwords[MQTT_USER] + "\n", "utf-8")
        text = gateway_toml(
            self.options,
            self.ports,
            data_dir=self.data_dir,
            run_dir=self._short_run_dir(),
            prompts=spoken,
            password_file=password,
            mqtt_user=MQTT_USER,
        )
        self.config.write_text(text, "utf-8")
        terminals = terminals_csv(self.options, self.ports)
        (self.directory / "terminals.csv").write_text(terminals, "utf-8")

    def _short_run_dir(self) -> Path:
        """Return where the workers' sockets go; elsewhere when our own path is too long for one."""
        if len(str(self._run_dir)) > SOCKET_DIR_MAX:
            self._run_dir = Path(tempfile.mkdtemp(prefix="onekey-"))
            self._stack.callback(shutil.rmtree, self._run_dir, ignore_errors=True)
        self._run_dir.mkdir(parents=True, exist_ok=True)
        return self._run_dir

    @property
    def _sound(self) -> Path:
        return self.directory / "sound"

    def _registered(self) -> list[str]:
        return [terminal_id(number) for number in range(1, self.options.terminals + 1)]

    async def _voice(self, terminal: str, behaviour: Behaviour | None) -> Phone | None:
        index = self._registered().index(terminal) if terminal in self._registered() else None
        if index is None or index >= self.options.voices:
            return None
        if terminal in self._voices:
            await self._voices.pop(terminal).stop()
        silent = replace(NEVER, tone_hz=TERMINAL_TONE_HZ)  # answers when its terminal says so
        phone = self._voices[terminal] = self._phone(terminal, index, behaviour or silent)
        await self._start_phone(phone)
        return phone

    def _phone(self, name: str, index: int, behaviour: Behaviour) -> Phone:
        return Phone(
            name,
            port=self.ports.phone_sip(index),
            rtp_base=self.ports.phone_rtp(index),
            directory=self._sound,
            behaviour=behaviour,
            address=self.options.bind_address,
            env={MARK: self._mark},
        )

    async def _start_phone(self, phone: Phone) -> None:
        self._stack.push_async_callback(phone.stop)
        await phone.start()

    async def _sweep(self) -> None:
        self.leftovers = await sweep(f"{MARK}={self._mark}")
        for command in self.leftovers:
            log.warning("process_left_over_killed", command=command)


def _there(part: _Part | None) -> _Part:
    if part is None:
        raise WorldError("the world has not been started")
    return part

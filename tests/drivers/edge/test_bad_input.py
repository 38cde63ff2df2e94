"""Scanners, floods and torture: refused cheaply, survived, and never at the cost of an SOS."""

import asyncio
import os
import re
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.api.edge import RouteTo
from drivers.api.ids import CallId
from drivers.edge.config import EdgeConfig, Limits
from drivers.edge.edge import KamailioEdge
from tests.drivers.edge.conftest import Handler, running
from tests.drivers.edge.peer import REALM, SDP, Peer, SipMessage
from tests.drivers.edge.torture import TORTURE
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e


async def test_scanners_get_no_answer_and_are_counted(
    edge: KamailioEdge, config: EdgeConfig
) -> None:
    async with Peer(config.port) as scanner:
        for agent in ("friendly-scanner", "sipvicious", "sundayddr", "SIPVicious/0.3"):
            text = scanner.compose(
                "OPTIONS", f"sip:{REALM}", "100", call_id=agent, headers=[f"User-Agent: {agent}"]
            )
            scanner.send(text)
        scanner.send(scanner.compose("OPTIONS", f"sip:{REALM}", "100", call_id="honest"))
        await scanner.final("honest", "1 OPTIONS")
        assert len(scanner.messages) == 1
    await edge.poll()
    assert edge.counters["scanner"] == 4


async def test_a_flood_of_registers_does_not_stop_an_sos_from_the_same_address(
    config: EdgeConfig, handler: Handler
) -> None:
    limits = Limits(requests_per_source=50, silence_per_source=500)
    async with (
        running(replace(config, limits=limits), handler) as edge,
        Peer(config.port) as phone,
        Peer(config.port) as flood,
        Peer(config.internal_port) as worker,
    ):

        def accept(message: SipMessage) -> None:
            if message.method == "INVITE":
                worker.answer(message, 200)

        worker.on_request = accept
        await phone.register("phone", "secret")
        stop = asyncio.Event()

        async def pour() -> int:
            count = 0
            while not stop.is_set():
                for _ in range(50):
                    count += 1
                    call_id = f"flood-{count}"
                    text = flood.compose("REGISTER", f"sip:{REALM}", "x", call_id=call_id)
                    flood.send(text)
                await asyncio.sleep(0.005)
            return count

        pouring = asyncio.create_task(pour())
        await flood.wait(lambda message: message.code == 503)
        took = []
        for number in range(5):
            handler.answers = [RouteTo(uri=f"sip:w@{worker.here}", call=CallId(f"c{number}"))]
            since = time.monotonic()
            answer, _ = await phone.ask("INVITE", f"sip:sos@{REALM}", "phone", "secret", body=SDP)
            took.append(time.monotonic() - since)
            assert answer.code == 200
        stop.set()
        poured = await pouring
        refused = next(m for m in flood.messages if m.code == 503)
        await edge.poll()
    assert refused.get("retry-after")
    assert max(took) < 1.0
    assert poured > 100
    assert edge.counters["flood_source"] > 50
    answered = sum(1 for m in flood.messages if m.code == 503)
    assert answered <= limits.silence_per_source


async def test_even_sos_has_a_limit_and_is_told(config: EdgeConfig, handler: Handler) -> None:
    limits = Limits(sos_per_source=4)
    async with running(replace(config, limits=limits), handler), Peer(config.port) as phone:
        codes = [
            (await phone.ask("INVITE", f"sip:sos@{REALM}", "phone", None))[0].code for _ in range(6)
        ]
    assert codes == [407] * 4 + [503] * 2


async def test_an_oversized_message_is_refused(edge: KamailioEdge, config: EdgeConfig) -> None:
    async with Peer(config.port) as phone:
        text = phone.compose("MESSAGE", f"sip:x@{REALM}", "phone", call_id="big", body="x" * 30_000)
        phone.send(text)
        assert (await phone.final("big", "1 MESSAGE")).code == 513
    assert edge.healthy


@pytest.mark.parametrize("way", ["external", "internal", "tcp"])
async def test_torture_is_survived(edge: KamailioEdge, config: EdgeConfig, way: str) -> None:
    pid = edge.pid
    assert pid is not None
    async with Peer(config.port) as phone:
        assert (await phone.register("1001", "secret3")).code == 200
    planned = len(await edge._rpc.ask("core.psx"))
    await wait_until(lambda: len(processes_of_group(pid)) == planned)
    children = processes_of_group(pid)
    port = config.internal_port if way == "internal" else config.port
    async with Peer(port) as enemy:
        for message in TORTURE.values():
            if way == "tcp":
                await asyncio.to_thread(send_tcp, port, message)
            else:
                enemy.send(message)
                enemy.send(message[: len(message) // 2])
                enemy.send(message[:60])
        enemy.send(os.urandom(1200))
        enemy.send(b"\0" * 1200)
    async with Peer(config.port) as phone:
        assert (await phone.register("phone", "secret")).code == 200
    assert edge.pid == pid
    assert processes_of_group(pid) == children


async def test_no_torture_message_gets_through_to_the_daemon(
    edge: KamailioEdge, config: EdgeConfig, handler: Handler
) -> None:
    assert edge.healthy
    async with Peer(config.port) as enemy:
        for name, message in TORTURE.items():
            enemy.send(message)
            enemy.send(enemy.compose("OPTIONS", f"sip:{REALM}", "x", call_id=f"after-{name}"))
            await enemy.final(f"after-{name}", "1 OPTIONS")
    assert not handler.routes
    assert not handler.messages


def processes_of_group(pid: int) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text("ascii", "replace")
        except OSError:
            continue
        if int(re.sub(r"\(.*\)", "x", text).split()[4]) == pid:
            found.add(int(entry.name))
    return found


def send_tcp(port: int, message: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
        sock.sendall(message)

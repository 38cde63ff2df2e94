"""Real phones: the simulator's (pjsua2) and Debian's baresip register, call and are called."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.api.edge import RouteTo
from drivers.api.ids import CallId
from drivers.edge.config import EdgeConfig
from drivers.edge.edge import KamailioEdge
from tests.drivers.edge.conftest import Handler
from tests.drivers.edge.peer import REALM, SDP, Peer, SipMessage, dialog_of_caller
from tests.waiting import free_port, free_port_range, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "baresip"


class Phone:
    """sim.sip_ua as a child."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def told(self, event: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(10):
            while line := await self._process.stdout.readline():
                story: dict[str, Any] = json.loads(line)
                if story["event"] == event:
                    return story
        raise AssertionError(f"the phone ended before {event}")

    def command(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())


@asynccontextmanager
async def phone_of(
    config: EdgeConfig, user: str, password: str, *more: str
) -> AsyncIterator[Phone]:
    options = ["--edge", f"127.0.0.1:{config.port}", "--domain", REALM, "--json"]
    options += ["--user", user, "--password", password, "--port", str(free_port())]
    options += ["--rtp-base", str(free_port_range(32)), *more]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sim.sip_ua", *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Phone(process)
    finally:
        assert process.stdin is not None
        process.stdin.write(b"quit\n")
        await process.communicate()


def answering(worker: Peer) -> Callable[[SipMessage], None]:
    def reply(message: SipMessage) -> None:
        if message.method in {"INVITE", "BYE"}:
            worker.answer(message, 200)

    return reply


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_pjsua2_phone_registers_calls_and_is_called(
    edge: KamailioEdge, config: EdgeConfig, handler: Handler, transport: str
) -> None:
    async with (
        phone_of(config, "phone", "secret", "--transport", transport) as phone,
        Peer(config.internal_port) as worker,
    ):
        assert (await phone.told("registered"))["code"] == 200
        await wait_until(edge.registrations)
        assert edge.registrations()[0].transport == transport
        worker.on_request = answering(worker)
        handler.answers = [RouteTo(uri=f"sip:w@{worker.here}", call=CallId("c-1"))]
        phone.command(f"call sip:sos@{REALM}")
        await phone.told("answered")
        assert handler.routes[0].user == "phone"
        phone.command("hangup")
        await phone.told("gone")
        answer, _ = await worker.ask(
            "INVITE", f"sip:phone@{REALM}", "gateway", None, body=SDP, headers=["X-A: b"]
        )
        assert answer.code == 200
        worker.in_dialog(dialog_of_caller(answer), "ACK")
        assert (await phone.told("invite"))["headers"]["x-a"] == ["b"]
        await phone.told("answered")
        assert await edge.end_dialogs(worker.here) == 1
        await phone.told("gone")


async def test_a_pjsua2_phone_with_a_wrong_password_stays_out(
    edge: KamailioEdge, config: EdgeConfig
) -> None:
    async with phone_of(config, "phone", "guess") as phone:
        assert (await phone.told("registered"))["code"] in {401, 403}
    assert not edge.registrations()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_baresip_registers_and_is_called(
    edge: KamailioEdge, config: EdgeConfig, tmp_path: Path, transport: str
) -> None:
    directory = tmp_path / "baresip"
    shutil.copytree(EXAMPLE, directory)
    text = (directory / "config").read_text().replace("127.0.0.1:5070", f"127.0.0.1:{free_port()}")
    (directory / "config").write_text(text)
    proxy = f'outbound="sip:127.0.0.1:{config.port};transport={transport}"'
    account = f"<sip:agent@{REALM};transport={transport}>;auth_pass=secret2;{proxy};regint=120"
    (directory / "accounts").write_text(f"{account};answermode=auto\n")
    process = await asyncio.create_subprocess_exec(
        *("baresip", "-f", str(directory)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        await wait_until(edge.registrations, deadline=10, what="baresip registers")
        (found,) = edge.registrations()
        assert (found.user, found.transport) == ("agent", transport)
        async with Peer(config.internal_port) as worker:
            answer, _ = await worker.ask("INVITE", f"sip:agent@{REALM}", "gateway", None, body=SDP)
            assert answer.code == 200
            call = dialog_of_caller(answer)
            worker.in_dialog(call, "ACK")
            worker.in_dialog(call, "BYE")
            await worker.final(call.call_id, f"{call.cseq} BYE")
    finally:
        process.terminate()
        await process.communicate()

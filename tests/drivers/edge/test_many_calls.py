"""Many calls at once: written down without a loss, found again after a crash, cleared up."""

import asyncio
import os
import signal
from dataclasses import replace

import pytest

from drivers.api.edge import RouteTo
from drivers.api.ids import CallId
from drivers.edge import database
from drivers.edge.config import EdgeConfig, Limits
from drivers.edge.edge import KamailioEdge
from tests.drivers.edge.conftest import Handler, running
from tests.drivers.edge.peer import REALM, SDP, Peer, SipMessage, dialog_of_caller
from tests.drivers.edge.test_register import back
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CALLS = 60
PLENTY = Limits(requests_per_source=100_000, calls_per_user=10_000, sos_per_source=100_000)


def accepting(worker: Peer) -> None:
    def reply(message: SipMessage) -> None:
        if message.method in {"INVITE", "BYE"}:
            worker.answer(message, 200)

    worker.on_request = reply


async def call_all(phone: Peer, worker: Peer, handler: Handler, count: int) -> list[SipMessage]:
    async def call() -> SipMessage:
        answer, _ = await phone.ask(
            "INVITE", f"sip:sos@{REALM}", "phone", "secret", body=SDP, deadline=20
        )
        phone.in_dialog(dialog_of_caller(answer), "ACK")
        return answer

    handler.answers = [RouteTo(uri=f"sip:w@{worker.here}", call=CallId("c"))] * count
    made: list[SipMessage] = []
    for _ in range(0, count, 10):
        made += await asyncio.gather(*(call() for _ in range(10)))
    assert {answer.code for answer in made} == {200}
    return made


def written(config: EdgeConfig, worker: Peer) -> int:
    return len(database.answered_dialogs(config.dialog_db, worker.here))


async def test_no_call_and_no_registration_is_lost_and_none_is_left(
    config: EdgeConfig, handler: Handler
) -> None:
    users = [f"u{number}" for number in range(100)]
    handler.passwords |= dict.fromkeys(users, "pw")
    async with (
        running(replace(config, limits=PLENTY), handler) as edge,
        Peer(config.port) as phone,
        Peer(config.internal_port) as worker,
    ):
        accepting(worker)
        registered, made = await asyncio.gather(
            asyncio.gather(*(phone.register(user, "pw") for user in users)),
            call_all(phone, worker, handler, CALLS),
        )
        assert {answer.code for answer in registered} == {200}
        await wait_until(lambda: written(config, worker) == CALLS, deadline=5)
        await wait_until(lambda: len(edge.registrations()) == len(users), deadline=5)
        for answer in made[: CALLS // 2]:
            phone.in_dialog(dialog_of_caller(answer), "BYE")
        await wait_until(lambda: written(config, worker) == CALLS // 2, deadline=15)
        assert await edge.end_dialogs(worker.here) == CALLS // 2
        await wait_until(lambda: written(config, worker) == 0, deadline=15)
    assert "locked" not in config.log_path.read_text("utf-8")


async def test_calls_that_outlived_an_edge_can_be_ended_and_hung_up(
    config: EdgeConfig, handler: Handler
) -> None:
    async with (
        running(replace(config, limits=PLENTY), handler) as edge,
        Peer(config.port) as phone,
        Peer(config.internal_port) as worker,
    ):
        accepting(worker)
        made = await call_all(phone, worker, handler, 10)
        await wait_until(lambda: written(config, worker) == 10, deadline=5)
        first = edge.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await back(edge, first)
        await loaded(edge)
        call = dialog_of_caller(made[0])
        phone.in_dialog(call, "BYE")
        assert (await phone.final(call.call_id, f"{call.cseq} BYE")).code == 200
        assert await edge.end_dialogs(worker.here) == 9
        await phone.wait(lambda message: message.method == "BYE")


async def loaded(edge: KamailioEdge) -> None:
    """Wait until Kamailio has read its dialogs, which is after its first word."""
    async with asyncio.timeout(5):
        known = 0
        while not known:
            known = (await edge._rpc.ask("dlg.stats_active"))["all"]
            await asyncio.sleep(0.02)

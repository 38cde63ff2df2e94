"""How legs end, against real phones and against nobody."""

import asyncio
import socket
import time
from pathlib import Path

import pytest

from drivers.api.errors import NoCapacity
from drivers.api.ids import CallId, LegId
from drivers.api.legs import (
    DialRequest,
    LegAnswered,
    LegEnded,
    LegOutcome,
    LegRinging,
    LegState,
    LegTransferAsked,
)
from drivers.sip.link import SipWorkerLink
from sim.phone import BUSY, DECLINES, NEVER, Behaviour
from tests.drivers.sip.rig import CALL, Rig, open_files, request, rig, silent_port
from tests.waiting import wait_until

A = LegId("call.1")
CALLS_IN_A_ROW = 60
# PJSIP 2.15 may abort beyond about 15 calls/s in one process; the pool paces, so do we.
CALL_EVERY_S = 0.08


async def dial_when_free(link: SipWorkerLink, asked: DialRequest) -> None:
    async with asyncio.timeout(3):
        while True:
            try:
                await link.dial(CALL, asked)
            except NoCapacity:
                await asyncio.sleep(0.02)
            else:
                return


def refuse_invites(hole: socket.socket, *, calls: int) -> None:
    """Answer what has piled up in `hole` with 503 until `calls` INVITEs were refused."""
    refused: set[bytes] = set()
    hole.settimeout(2)
    while len(refused) < calls:
        message, peer = hole.recvfrom(4096)
        lines = message.split(b"\r\n")
        kept = [line for line in lines if line.startswith((b"Via", b"From", b"Call-ID", b"CSeq"))]
        to = next(line for line in lines if line.startswith(b"To")) + b";tag=1"
        reply = [b"SIP/2.0 503 Service Unavailable", *kept, to, b"Content-Length: 0", b"", b""]
        hole.sendto(b"\r\n".join(reply), peer)
        refused.add(next(line for line in lines if line.startswith(b"Call-ID")))


@pytest.mark.parametrize(
    ("behaviour", "outcome", "code"),
    [
        (BUSY, LegOutcome.BUSY, 486),
        (DECLINES, LegOutcome.DECLINED, 603),
        (Behaviour(refuse=480), LegOutcome.UNREACHABLE, 480),
        (Behaviour(refuse=404), LegOutcome.UNREACHABLE, 404),
        (Behaviour(refuse=500), LegOutcome.FAILED, 500),
    ],
)
async def test_refusals(
    tmp_path: Path, behaviour: Behaviour, outcome: LegOutcome, code: int
) -> None:
    async with rig(tmp_path) as world:
        phone = await world.phone("a", behaviour)
        link = await world.worker()
        await link.dial(CALL, request(A, phone.uri))
        ended = await world.event(LegEnded, A)
    assert (ended.outcome, ended.code, ended.by_us) == (outcome, code, False)
    assert ended.talk_s == 0


async def test_it_rings_no_longer_than_asked_without_a_daemon(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        phone = await world.phone("a", NEVER)
        link = await world.worker()
        await link.dial(CALL, request(A, phone.uri, ring_s=0.5))
        await phone.wait("ringing", deadline=5)
        await link.detach()
        gone = await phone.wait("gone", deadline=5)
        ringing = phone.find("ringing")
        assert ringing is not None
        assert 0.4 < gone.at - ringing.at < 1.0
        again = await world.factory.adopt(0, world.events.append)
        assert again is not None
        assert not again.snapshot.legs
        ended = await world.event(LegEnded, A)
    assert (ended.outcome, ended.by_us) == (LegOutcome.NO_ANSWER, True)
    assert len(world.find(LegRinging, A)) == 1


async def test_a_dead_host_is_given_up_and_its_slot_comes_back(tmp_path: Path) -> None:
    async with rig(tmp_path, no_reply_s=0.4) as world:
        link = await world.worker()
        with silent_port() as hole:
            sent = time.monotonic()
            for i in range(4):
                uri = f"sip:x@127.0.0.1:{hole.getsockname()[1]}"
                await link.dial(CALL, request(f"call.{i}", uri))
            ended = await world.event(LegEnded, "call.3")
            assert time.monotonic() - sent < 2
            assert (ended.outcome, ended.by_us) == (LegOutcome.UNREACHABLE, True)
            with pytest.raises(NoCapacity):  # PJSIP still waits for its timer B
                await link.dial(CALL, request("call.9", "sip:x@127.0.0.1:9"))
            refuse_invites(hole, calls=4)  # the dead wake up: the slots come back
            await dial_when_free(link, request("call.8", uri))


async def test_the_last_answer_and_the_cancel_may_cross(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        phone = await world.phone("a", Behaviour(answer_after_s=0.2))
        link = await world.worker()
        for i in range(10):
            leg = f"call.{i}"
            await link.dial(CALL, request(leg, phone.uri))
            await asyncio.sleep(0.19 + i * 0.002)
            await link.hang_up(LegId(leg))
            ended = await world.event(LegEnded, leg)
            assert ended.outcome in {LegOutcome.CANCELLED, LegOutcome.COMPLETED}
            answered = bool(world.find(LegAnswered, leg))
            assert answered == (ended.outcome is LegOutcome.COMPLETED)
        await wait_until(lambda: len([e for e in phone.events if e.what == "gone"]) == 10)


async def test_transfers_are_refused_and_told(tmp_path: Path) -> None:
    """Accepted, PJSUA would put two calls into one object and crash."""
    async with rig(tmp_path) as world:
        a = await world.phone("a", Behaviour(answer_after_s=0.0))
        b = await world.phone("b", NEVER)
        link = await world.worker()
        await link.dial(CALL, request(A, a.uri))
        await world.answered(A)
        a.command(f"refer {b.uri}")
        assert (await a.wait("refer", deadline=5)).data["code"] == 603
        asked = await world.event(LegTransferAsked, A)
        assert (asked.target, asked.attended) == (b.uri, False)
        assert b.find("invite") is None
        assert [leg.state for leg in (await adopted(world)).snapshot.legs] == [LegState.ANSWERED]


async def adopted(world: Rig) -> SipWorkerLink:
    link = await world.factory.adopt(0, world.events.append)
    assert link is not None
    return link


async def test_many_calls_on_one_worker_leak_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        phone = await world.phone("a", Behaviour(answer_after_s=0.0))
        link = await world.worker()
        held = []
        for i in range(CALLS_IN_A_ROW):
            leg = f"call.{i}"
            begun = time.monotonic()
            await link.dial(CallId(f"call-{i // 2}"), request(leg, phone.uri))
            await world.answered(leg)
            await link.hang_up(LegId(leg))
            assert (await world.event(LegEnded, leg)).outcome is LegOutcome.COMPLETED
            held.append(open_files(link.pid))
            await asyncio.sleep(max(0.0, CALL_EVERY_S - (time.monotonic() - begun)))
        assert max(held[-20:]) <= max(held[5:20])
        again = await world.factory.adopt(0, world.events.append)
        assert again is not None
        assert again.snapshot.calls_carried == CALLS_IN_A_ROW / 2  # two legs each

"""Calls that come in: what a caller hears, sees and may do. Real workers, real phones."""

import asyncio
import time
from pathlib import Path

import pytest

from drivers.api.errors import PermanentError, UnknownLeg
from drivers.api.ids import LegId
from drivers.api.legs import (
    LegAnswered,
    LegEnded,
    LegMedia,
    LegOffered,
    LegOutcome,
    LegState,
)
from drivers.sip.link import SipWorkerLink
from sim.phone import NEVER, Behaviour, Phone
from sim.tones import level_dbfs, longest_gap_ms, spans
from tests.drivers.sip.rig import CALL, Rig, open_files, request, rig, write_tone
from tests.waiting import wait_until

CALLER, AGENT = LegId("call.caller-1"), LegId("call.1")
HEARD, ABSENT = -20.0, -45.0  # dBFS
PROMPT_S = 2.0  # promise 6: nobody hangs in silence


def codes(phone: Phone) -> list[int]:
    return [e.data["code"] for e in phone.events if e.what == "response"]


async def offered(world: Rig, phone: Phone, n: int = 1) -> LegId:
    world.sos(phone)
    leg = LegId(f"{CALL}.caller-{n}")
    await world.event(LegOffered, leg)
    return leg


async def living(world: Rig) -> SipWorkerLink:
    link = await world.factory.adopt(0, world.events.append)
    assert link is not None
    return link


async def nothing_is_left(world: Rig) -> None:
    assert not (await living(world)).snapshot.legs


async def test_a_prompt_before_the_answer_then_a_bridge(tmp_path: Path) -> None:
    prompt = write_tone(tmp_path / "wait.wav", 600, 0.3)
    async with rig(tmp_path) as world:
        caller = await world.phone("13800", Behaviour(tone_hz=440))
        agent = await world.phone("agent", Behaviour(tone_hz=1000, answer_after_s=1.0))
        link = await world.worker()
        await link.record(CALL, tmp_path / "rec", segment_s=60)
        caller.command("header X-Key: sos")
        caller.command("header Priority: emergency")
        begun = time.time()
        world.sos(caller)
        event = await world.event(LegOffered, CALLER)
        assert (event.from_user, event.to_user) == ("13800", "sos")
        assert event.source.startswith("127.0.0.1:")
        assert event.headers["x-key"] == "sos"
        assert event.headers["priority"] == "emergency"
        assert "x-onekey-call" not in event.headers
        await link.play(CALLER, "wait", prompt, loop=True)
        await link.progress(CALLER)
        await link.progress(CALLER)
        await link.dial(CALL, request(AGENT, agent.uri))
        await link.bridge(CALLER, AGENT)
        await world.event(LegAnswered, AGENT)
        assert not world.find(LegAnswered, CALLER)
        snapshot = (await living(world)).snapshot
        assert {(leg.leg, leg.state, leg.direction) for leg in snapshot.legs} == {
            (CALLER, LegState.EARLY, "in"),
            (AGENT, LegState.ANSWERED, "out"),
        }
        link = await living(world)
        await link.stop_playing(CALLER)
        await link.answer(CALLER)
        await link.answer(CALLER)
        answered = await caller.wait("answered", deadline=5)
        await world.event(LegAnswered, CALLER)
        await asyncio.sleep(1.0)  # sound is made of time
        stats = await link.statistics()
        await link.hang_up(CALLER, reason="over")
        ended = await world.event(LegEnded, CALLER)
        await link.hang_up(AGENT)
        await world.event(LegEnded, AGENT)
        files = await link.stop_recording(CALL)
        for phone in (caller, agent):
            await phone.wait("recorded", deadline=5)
        await nothing_is_left(world)

    heard_by_the_caller(caller, begun, answered.at)
    assert level_dbfs(agent.record, 440) > HEARD
    assert stats[CALLER].rx_packets > 40
    assert (ended.outcome, ended.by_us, ended.code) == (LegOutcome.COMPLETED, True, 200)
    assert ended.talk_s > 0.8
    assert level_dbfs(files[-1], 440, start_s=1.5) > HEARD
    assert level_dbfs(files[-1], 1000, start_s=1.5) > HEARD


def heard_by_the_caller(caller: Phone, begun: float, answered: float) -> None:
    """Check the prompt (600 Hz) before the answer and the agent (1 kHz) after it."""
    first_sound = caller.find("media")
    assert first_sound is not None
    assert codes(caller).index(180) < codes(caller).index(183) < codes(caller).index(200)
    (prompt_begin, prompt_end), *_ = spans(caller.record, 600)
    assert first_sound.at + prompt_begin - begun < PROMPT_S
    assert first_sound.at + prompt_end < answered + 0.2
    assert prompt_end - prompt_begin > 0.5
    assert level_dbfs(caller.record, 1000, start_s=prompt_end + 0.1) > HEARD
    assert longest_gap_ms(caller.record, 1000) <= 60


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (LegOutcome.BUSY, 486),
        (LegOutcome.DECLINED, 603),
        (LegOutcome.NO_ANSWER, 480),
        (LegOutcome.UNREACHABLE, 503),
        (LegOutcome.FAILED, 500),
    ],
)
async def test_rejections(tmp_path: Path, outcome: LegOutcome, code: int) -> None:
    async with rig(tmp_path) as world:
        caller = await world.phone("c", NEVER)
        link = await world.worker()
        leg = await offered(world, caller)
        await link.reject(leg, outcome, retry_after_s=30)
        await link.reject(leg, outcome)
        gone = await caller.wait("gone", deadline=5)
        ended = await world.event(LegEnded, leg)
        with pytest.raises(UnknownLeg):
            await link.answer(leg)
        await link.reject(leg, outcome)
        assert (gone.data["code"], ended.outcome, ended.by_us) == (code, outcome, True)
        assert ended.talk_s == 0
        await nothing_is_left(world)


async def test_what_cannot_be_done_with_a_caller_is_said(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        caller, agent = await world.phone("c", NEVER), await world.phone("a", NEVER)
        link = await world.worker()
        leg = await offered(world, caller)
        await link.dial(CALL, request(AGENT, agent.uri))
        for outcome in (LegOutcome.COMPLETED, LegOutcome.CANCELLED, LegOutcome.LOST):
            with pytest.raises(PermanentError):
                await link.reject(leg, outcome)
        for command in (link.answer, link.progress):
            with pytest.raises(PermanentError):
                await command(AGENT)
        with pytest.raises(PermanentError):
            await link.reject(AGENT, LegOutcome.BUSY)
        with pytest.raises(PermanentError):
            await link.hold(leg)  # not answered
        await link.answer(leg)
        with pytest.raises(PermanentError):
            await link.reject(leg, LegOutcome.BUSY)
        await link.progress(leg)  # too late, and no harm
        await world.event(LegAnswered, leg)


async def test_strangers_get_403(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        phone = await world.phone("c", NEVER)
        await world.worker()
        phone.command(f"call sip:sos@{world.config.contact(0)}")
        assert (await phone.wait("gone", deadline=5)).data["code"] == 403
        since = len(phone.events)
        world.sos(phone, "no good")
        assert (await phone.wait("gone", deadline=5, since=since)).data["code"] == 403
        assert not world.events


async def test_who_does_not_come_from_the_edge_gets_403(tmp_path: Path) -> None:
    async with rig(tmp_path, trusted=("192.0.2.0/24",)) as world:
        phone = await world.phone("c", NEVER)
        await world.worker()
        world.sos(phone)
        assert (await phone.wait("gone", deadline=5)).data["code"] == 403
        assert not world.events


async def test_without_a_daemon_the_edge_gets_its_call_back_at_once(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        phone = await world.phone("c", NEVER)
        link = await world.worker()
        await link.detach()
        begun = time.time()
        world.sos(phone)
        gone = await phone.wait("gone", deadline=5)
        assert gone.data["code"] == 503
        assert gone.at - begun < 0.5
        await nothing_is_left(world)


async def test_callers_who_wait_for_a_dead_daemon_go_back_to_the_edge(tmp_path: Path) -> None:
    async with rig(tmp_path, deserted_s=0.4) as world:
        early, asking = await world.phone("e", NEVER), await world.phone("o", NEVER)
        link = await world.worker()
        await link.progress(await offered(world, early))
        await offered(world, asking, 2)
        await link.detach()
        for phone in (early, asking):
            assert (await phone.wait("gone", deadline=5)).data["code"] == 503
        again = await living(world)
        assert not again.snapshot.legs
        for leg in ("call.caller-1", "call.caller-2"):
            ended = await world.event(LegEnded, leg)
            assert (ended.outcome, ended.by_us) == (LegOutcome.UNREACHABLE, True)


async def test_nobody_decides(tmp_path: Path) -> None:
    async with rig(tmp_path, decide_s=0.4) as world:
        undecided, answered = await world.phone("u", NEVER), await world.phone("a", NEVER)
        link = await world.worker()
        await offered(world, undecided)
        await link.progress(await offered(world, answered, 2))
        assert (await undecided.wait("gone", deadline=5)).data["code"] == 480
        ended = await world.event(LegEnded, CALLER)
        assert (ended.outcome, ended.by_us) == (LegOutcome.NO_ANSWER, True)
        assert answered.find("gone") is None
        assert [leg.leg for leg in (await living(world)).snapshot.legs] == ["call.caller-2"]


async def test_a_full_worker_says_busy(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        agent, caller = await world.phone("a", NEVER), await world.phone("c", NEVER)
        link = await world.worker()
        for i in range(4):
            await link.dial(CALL, request(f"call.{i}", agent.uri))
        world.sos(caller)
        assert (await caller.wait("gone", deadline=5)).data["code"] == 486
        assert not world.find(LegOffered, CALLER)


async def test_cancel_at_every_moment(tmp_path: Path) -> None:
    """Right after the offer, in early media, and across our answer: always one end, never a leg."""
    async with rig(tmp_path) as world:
        caller = await world.phone("c", NEVER)
        link = await world.worker()
        before = open_files(link.pid)
        for n in range(1, 13):
            since = len(caller.events)
            leg = await offered(world, caller, n)
            if n % 3:
                await link.progress(leg)
            if n % 3 == 2:
                await caller.wait("media", deadline=5, since=since)
                answering = asyncio.ensure_future(link.answer(leg))
            caller.hang_up()
            if n % 3 == 2:
                (result,) = await asyncio.gather(answering, return_exceptions=True)
                assert result is None or isinstance(result, UnknownLeg)
            ended = await world.event(LegEnded, leg)
            assert ended.outcome in {LegOutcome.CANCELLED, LegOutcome.COMPLETED}
            was_answered = bool(world.find(LegAnswered, leg))
            assert was_answered == (ended.outcome is LegOutcome.COMPLETED)
            assert not ended.by_us
            await caller.wait("gone", deadline=5, since=since)
            await asyncio.sleep(0.1)  # PJSIP may abort beyond 15 calls/s; the pool paces
        await nothing_is_left(world)
        await wait_until(lambda: open_files(link.pid) <= before + 1)


async def test_a_quitting_worker_gives_its_callers_back(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        caller = await world.phone("c", NEVER)
        link = await world.worker()
        await link.progress(await offered(world, caller))
        await link.quit()
        assert (await caller.wait("gone", deadline=5)).data["code"] == 503


async def test_a_caller_outlives_the_daemon(tmp_path: Path) -> None:
    prompt = write_tone(tmp_path / "wait.wav", 600, 0.3)
    async with rig(tmp_path) as world:
        caller = await world.phone("c", NEVER)
        link = await world.worker()
        leg = await offered(world, caller)
        await link.play(leg, "wait", prompt, loop=True)
        await link.progress(leg)
        await caller.wait("media", deadline=5)
        await link.detach()
        await asyncio.sleep(0.5)
        link = await living(world)
        (snapshot,) = link.snapshot.legs
        assert (snapshot.state, snapshot.direction) == (LegState.EARLY, "in")
        assert snapshot.uri.startswith("sip:c@127.0.0.1")
        await link.answer(leg)
        await caller.wait("answered", deadline=5)
        await world.event(LegMedia, leg)
        caller.hang_up()
        ended = await world.event(LegEnded, leg)
        assert (ended.outcome, ended.by_us) == (LegOutcome.COMPLETED, False)
        await caller.wait("recorded", deadline=5)
    assert longest_gap_ms(caller.record, 600) <= 60

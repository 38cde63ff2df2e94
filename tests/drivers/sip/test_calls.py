"""Audio through a real worker between two real phones."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from drivers.api.errors import NoCapacity, PermanentError, UnknownLeg
from drivers.api.ids import LegId
from drivers.api.legs import (
    DialRequest,
    LegDigit,
    LegEnded,
    LegMedia,
    LegOutcome,
    LegRinging,
    PromptEnded,
)
from protocols import wav
from sim.phone import NEVER, Behaviour
from sim.tones import level_dbfs, longest_gap_ms, spans
from tests.drivers.sip.rig import CALL, request, rig, write_tone
from tests.waiting import wait_until

A, B = LegId("call.1"), LegId("call.2")
HEARD, ABSENT = -20.0, -45.0  # dBFS


async def test_prompt_then_bridge_then_recording(tmp_path: Path) -> None:
    prompt = write_tone(tmp_path / "wait.wav", 600, 0.3)
    async with rig(tmp_path) as world:
        a = await world.phone("a", Behaviour(tone_hz=440, answer_after_s=0.05))
        b = await world.phone("b", Behaviour(tone_hz=1000, answer_after_s=0.8))
        link = await world.worker()
        await link.record(CALL, tmp_path / "rec", segment_s=0.7)
        sent = time.time()
        await link.dial(CALL, request(A, a.uri))
        await link.play(A, "wait", prompt, loop=True)  # before the answer
        await link.dial(CALL, request(B, b.uri))
        await link.bridge(A, B)
        invited = await a.wait("invite", deadline=5)
        assert invited.at - sent < 0.5  # 4 ms on an idle machine
        await world.answered(A, B)
        await link.stop_playing(A)
        await asyncio.sleep(1.5)  # sound is made of time
        stats = await link.statistics()
        assert stats[A].codec == "PCMA"
        assert stats[A].rx_packets > 90
        await link.hang_up(A, reason="test over")
        await link.hang_up(B)
        ended = await world.event(LegEnded, A)
        await world.event(LegEnded, B)
        files = await link.stop_recording(CALL)
        await a.wait("recorded", deadline=5)
        await b.wait("recorded", deadline=5)
        told = await a.wait("ending", deadline=5)

    assert (ended.outcome, ended.by_us, ended.code) == (LegOutcome.COMPLETED, True, 200)
    assert ended.talk_s > 2
    assert ended.stats.tx_packets > 100
    assert told.data["reason"] == ['Q.850;cause=16;text="test over"']

    (_, prompt_end), *_ = spans(a.record, 600)
    assert 0.5 < prompt_end < 1.2
    assert level_dbfs(a.record, 1000, start_s=prompt_end + 0.1) > HEARD
    assert level_dbfs(a.record, 440) < ABSENT
    assert level_dbfs(b.record, 440) > HEARD
    assert level_dbfs(b.record, 1000) < ABSENT
    assert longest_gap_ms(b.record, 440) <= 60

    assert [file.name for file in files] == [f"seg-{i:04d}.wav" for i in range(1, len(files) + 1)]
    assert len(files) >= 3
    assert not list((tmp_path / "rec").glob("*.part"))
    for file in files[1:-1]:
        assert wav.parse(file.read_bytes()[:64], file.stat().st_size).intact
        assert level_dbfs(file, 440) > HEARD
        assert longest_gap_ms(file, 440) == 0
    assert level_dbfs(files[-2], 1000) > HEARD
    assert level_dbfs(files[0], 1000) < ABSENT  # recording began before the second answer


async def test_headers_and_the_name_arrive(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        phone = await world.phone("a", NEVER)
        link = await world.worker()
        asked = DialRequest(
            leg=A,
            uri=phone.uri,
            display_name='王 "老" \\ 三',
            headers=[("X-Incident", "01J"), ("Priority", "emergency"), ("X-Incident", "02")],
        )
        await link.dial(CALL, asked)
        headers = (await phone.wait("invite", deadline=5)).data["headers"]
        await world.event(LegRinging, A)  # before any reply PJSIP cannot CANCEL with our Reason
        await link.hang_up(A, reason="answered elsewhere")
        ended = await world.event(LegEnded, A)
        told = await phone.wait("ending", deadline=5)
    assert headers["x-incident"] == ["01J", "02"]
    assert headers["priority"] == ["emergency"]
    assert headers["from"][0].startswith('"王 \\"老\\" \\\\ 三" <sip:gateway@127.0.0.1>')
    assert told.data["method"] == "CANCEL"
    assert told.data["reason"] == ['SIP;cause=487;text="answered elsewhere"']
    assert (ended.outcome, ended.code) == (LegOutcome.CANCELLED, 487)


async def test_a_prompt_ends_and_digits_pass(tmp_path: Path) -> None:
    prompt = write_tone(tmp_path / "once.wav", 600, 0.3)
    async with rig(tmp_path) as world:
        phone = await world.phone("a", Behaviour(answer_after_s=0.0))
        link = await world.worker()
        await link.dial(CALL, request(A, phone.uri))
        await world.answered(A)
        await link.play(A, "once", prompt, loop=False)
        assert (await world.event(PromptEnded, A)).prompt == "once"
        await link.send_digits(A, "5")
        assert (await phone.wait("dtmf", deadline=5)).data["digit"] == "5"
        phone.command("dtmf #")
        assert (await world.event(LegDigit, A)).digit == "#"
        phone.hang_up()
        ended = await world.event(LegEnded, A)
        assert (ended.outcome, ended.by_us) == (LegOutcome.COMPLETED, False)
        await phone.wait("recorded", deadline=5)
    (first, last), *more = spans(phone.record, 600)
    assert not more
    assert 0.2 < last - first < 0.4


async def test_bridge_and_statistics_outlive_a_hold(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        a = await world.phone("a", Behaviour(tone_hz=440, answer_after_s=0.0))
        b = await world.phone("b", Behaviour(tone_hz=1000, answer_after_s=0.0))
        link = await world.worker()
        for leg, phone in ((A, a), (B, b)):
            await link.dial(CALL, request(leg, phone.uri))
        await link.bridge(A, B)
        await world.answered(A, B)
        await asyncio.sleep(0.4)
        a.command("hold")
        await wait_until(lambda: [m for m in world.find(LegMedia, A) if m.held])
        await asyncio.sleep(0.2)
        before = (await link.statistics())[A].rx_packets
        a.command("unhold")
        await wait_until(lambda: world.find(LegMedia, A)[-1].active)
        await asyncio.sleep(0.4)
        after = (await link.statistics())[A].rx_packets
        await link.unbridge(A, B)
        await asyncio.sleep(0.3)
        a.hang_up()
        await b.wait("media", deadline=5)
        await world.event(LegEnded, A)
        await link.hang_up(B)
        await a.wait("recorded", deadline=5)
        await b.wait("recorded", deadline=5)
    assert before >= 10
    assert after >= before + 10
    heard = spans(b.record, 440)
    assert len(heard) == 2, heard  # before the hold and after it, not after the unbridge
    assert 0.2 < heard[1][1] - heard[1][0] < 0.7


async def test_a_bridged_leg_that_falls_silent_is_reported(tmp_path: Path) -> None:
    async with rig(tmp_path, media_loss_s=1.0) as world:
        a = await world.phone("a", Behaviour(answer_after_s=0.0))
        b = await world.phone("b", Behaviour(answer_after_s=0.0))
        link = await world.worker()
        for leg, phone in ((A, a), (B, b)):
            await link.dial(CALL, request(leg, phone.uri))
        await link.bridge(A, B)
        await world.answered(A, B)
        a.child.kill(signal.SIGSTOP)
        try:
            await wait_until(lambda: not world.find(LegMedia, A)[-1].active)
        finally:
            a.child.kill(signal.SIGCONT)
        await wait_until(lambda: world.find(LegMedia, A)[-1].active)
        assert [m.active for m in world.find(LegMedia, A)] == [True, False, True]
        assert [m.active for m in world.find(LegMedia, B)] == [True]


async def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        phone = await world.phone("a", NEVER)
        link = await world.worker()
        with pytest.raises(UnknownLeg):
            await link.bridge(A, B)
        with pytest.raises(UnknownLeg):
            await link.send_digits(A, "1")
        await link.hang_up(A)
        await link.stop_playing(A)
        assert list(await link.stop_recording(CALL)) == []
        await link.dial(CALL, request(A, phone.uri))
        with pytest.raises(PermanentError):
            await link.dial(CALL, request(A, phone.uri))
        with pytest.raises(PermanentError):
            await link.play(A, "none", tmp_path / "none.wav", loop=True)
        with pytest.raises(PermanentError):
            await link.bridge(A, A)
        with pytest.raises(PermanentError):
            await link.dial(CALL, request(B, "nonsense\r\nX: y"))
        evil = DialRequest(leg=B, uri=phone.uri, headers=[("X-A", "b\r\nX-Evil: 1")])
        with pytest.raises(PermanentError):
            await link.dial(CALL, evil)
        with pytest.raises(PermanentError):
            await link.record(CALL, Path("/proc/none"), segment_s=1)


async def test_the_fifth_leg_finds_no_room(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        phone = await world.phone("a", NEVER)
        link = await world.worker()
        assert link.legs_limit == 4
        for i in range(4):
            await link.dial(CALL, request(f"call.{i}", phone.uri))
        with pytest.raises(NoCapacity):
            await link.dial(CALL, request("call.9", phone.uri))
        for i in range(4, 14):  # a slot is free as soon as its leg has ended
            await world.event(LegRinging, f"call.{i - 1}")
            await link.hang_up(LegId(f"call.{i - 1}"))
            await world.event(LegEnded, f"call.{i - 1}")
            await link.dial(CALL, request(f"call.{i}", phone.uri))
            await asyncio.sleep(0.05)  # the pool paces, too

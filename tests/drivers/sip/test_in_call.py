"""Hold, mute, listen, whisper, three parties, paused recordings, bodies and causes: by ear."""

import asyncio
from pathlib import Path

import pytest

from drivers.api.errors import PermanentError, UnknownLeg
from drivers.api.ids import LegId
from drivers.api.legs import BodyPart, DialRequest, LegEnded, LegMedia, LegRinging
from drivers.sip.link import SipWorkerLink
from protocols import wav
from sim.phone import NEVER, Behaviour, Phone
from sim.tones import level_dbfs, spans
from tests.drivers.sip.rig import CALL, Rig, request, rig, write_tone
from tests.waiting import wait_until

A, B, C = LegId("call.1"), LegId("call.2"), LegId("call.3")
TONES = {A: 440, B: 1000, C: 1700}
HEARD, ABSENT = -25.0, -45.0  # dBFS


async def talking(world: Rig, *legs: LegId) -> tuple[SipWorkerLink, dict[LegId, Phone]]:
    """Bring up one phone per leg, each with a tone of its own, not connected to each other."""
    phones = {}
    for leg in legs:
        behaviour = Behaviour(tone_hz=TONES[leg], answer_after_s=0.0)
        phones[leg] = await world.phone(f"p{leg[-1]}", behaviour)
    link = await world.worker()
    for leg, phone in phones.items():
        await link.dial(CALL, request(leg, phone.uri))
    await world.answered(*legs)
    return link, phones


async def over(world: Rig, link: SipWorkerLink, phones: dict[LegId, Phone]) -> None:
    for leg, phone in phones.items():
        await link.hang_up(leg)
        await phone.wait("recorded", deadline=5)
        await world.event(LegEnded, leg)


def hears(phones: dict[LegId, Phone], sink: LegId, source: LegId) -> bool:
    level = level_dbfs(phones[sink].record, TONES[source])
    assert level > HEARD or level < ABSENT, f"{source} at {sink}: {level} dBFS"
    return level > HEARD


async def test_listen_and_whisper(tmp_path: Path) -> None:
    """A is the caller, B the agent, C the supervisor: C hears both, only B hears C."""
    async with rig(tmp_path) as world:
        link, phones = await talking(world, A, B, C)
        await link.bridge(A, B)
        await link.connect(A, C)
        await link.connect(B, C)
        await link.connect(C, B)
        again = await world.factory.adopt(0, world.events.append)
        assert again is not None
        assert list(again.snapshot.bridges) == [(A, B), (B, C)]
        assert list(again.snapshot.connections) == [(A, C)]
        await asyncio.sleep(0.8)  # sound is made of time
        await over(world, again, phones)
    assert hears(phones, A, B)
    assert not hears(phones, A, C)
    assert hears(phones, B, A)
    assert hears(phones, B, C)
    assert hears(phones, C, A)
    assert hears(phones, C, B)


async def test_three_parties_and_a_mute(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        link, phones = await talking(world, A, B, C)
        for pair in ((A, B), (B, C), (A, C)):
            await link.bridge(*pair)
        await asyncio.sleep(0.6)
        for sink in (B, C):
            await link.disconnect(A, sink)  # A is muted
        await link.disconnect(A, C)
        await asyncio.sleep(0.6)
        await link.connect(A, B)
        await asyncio.sleep(0.6)
        await over(world, link, phones)
    for sink in (A, B, C):
        for source in (A, B, C):
            assert hears(phones, sink, source) == (sink != source)
    assert len(spans(phones[B].record, 440)) == 2
    assert len(spans(phones[C].record, 440)) == 1
    (begin, end), *_ = spans(phones[C].record, 440)
    assert 0.3 < end - begin < 1.0


async def test_what_cannot_be_connected(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        link, _ = await talking(world, A)
        with pytest.raises(UnknownLeg):
            await link.connect(A, B)
        with pytest.raises(PermanentError):
            await link.connect(A, A)
        await link.disconnect(A, B)
        for command in (link.hold, link.unhold):
            with pytest.raises(UnknownLeg):
                await command(B)
        await link.unhold(A)
        await link.pause_recording(CALL)
        await link.resume_recording(CALL)


async def test_a_held_leg_hears_its_prompt_and_nobody_else(tmp_path: Path) -> None:
    music = write_tone(tmp_path / "music.wav", 600, 0.4)
    async with rig(tmp_path) as world:
        link, phones = await talking(world, A, B)
        await link.bridge(A, B)
        await asyncio.sleep(0.4)
        await link.hold(A)
        await link.hold(A)
        await wait_until(lambda: world.find(LegMedia, A)[-1].held)
        assert world.find(LegMedia, A)[-1].by_us
        await link.play(A, "music", music, loop=True)
        again = await world.factory.adopt(0, world.events.append)
        assert again is not None
        held = next(leg for leg in again.snapshot.legs if leg.leg == A)
        assert (held.held, held.held_by_us) == (True, True)
        assert list(again.snapshot.bridges) == [(A, B)]
        await asyncio.sleep(0.8)
        await again.stop_playing(A)
        await again.unhold(A)
        await wait_until(lambda: world.find(LegMedia, A)[-1].active)
        await asyncio.sleep(0.4)
        await over(world, again, phones)
    told = [(m.active, m.held, m.by_us) for m in world.find(LegMedia, A)]
    assert told == [(True, False, False), (False, True, True), (True, False, False)]
    b_at_a = spans(phones[A].record, 1000)
    music_heard = spans(phones[A].record, 600)
    music_begin, music_end = music_heard[0][0], music_heard[-1][1]
    assert music_end - music_begin > 0.4
    assert not [s for s in b_at_a if s[0] < music_end - 0.05 and s[1] > music_begin + 0.05]
    assert len(b_at_a) == 2
    assert len(spans(phones[B].record, 440)) == 2


async def test_a_paused_recording_has_a_gap(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        link, phones = await talking(world, A)
        await link.record(CALL, tmp_path / "rec", segment_s=60)
        await asyncio.sleep(0.5)
        await link.pause_recording(CALL)
        await link.pause_recording(CALL)
        again = await world.factory.adopt(0, world.events.append)
        assert again is not None
        assert list(again.snapshot.paused) == [CALL]
        assert dict(again.snapshot.recordings) == {CALL: tmp_path / "rec"}
        phones[A].command("hold")  # a new stream does not wake the recording
        await wait_until(lambda: world.find(LegMedia, A)[-1].held)
        phones[A].command("unhold")
        await wait_until(lambda: world.find(LegMedia, A)[-1].active)
        await asyncio.sleep(0.5)
        assert len(list((tmp_path / "rec").iterdir())) == 1
        await again.resume_recording(CALL)
        await again.resume_recording(CALL)
        await asyncio.sleep(0.5)
        files = await again.stop_recording(CALL)
        await over(world, again, phones)
    assert [file.name for file in files] == ["seg-0001.wav", "seg-0002.wav"]
    for file in files:
        assert 0.3 < wav.parse(file.read_bytes()[:64], file.stat().st_size).duration_s < 0.9
        assert level_dbfs(file, 440) > HEARD


async def test_parts_and_identity_arrive(tmp_path: Path) -> None:
    location = '<?xml version="1.0"?>\r\n<presence entity="pres:王@example.org"/>\r\n'
    asked = DialRequest(
        leg=A,
        uri="",
        display_name="王",
        from_uri="sip:13800@onekey.example",
        headers=[
            ("P-Asserted-Identity", '"W" <sip:13800@onekey.example>'),
            ("Geolocation", "<cid:where@onekey>"),
            ("Priority", "emergency"),
        ],
        parts=[
            BodyPart(content_type="application/pidf+xml", content_id="where@onekey", data=location),
            BodyPart(content_type="text/plain", content_id="", data="x"),
        ],
    )
    async with rig(tmp_path) as world:
        phone = await world.phone("a", Behaviour(answer_after_s=0.0))
        link = await world.worker()
        fields = {name: getattr(asked, name) for name in DialRequest.__slots__}
        asked = DialRequest(**{**fields, "uri": phone.uri})
        await link.dial(CALL, asked)
        told = (await phone.wait("invite", deadline=5)).data
        await world.answered(A)
        for bad in (
            BodyPart(content_type="pidf", content_id="", data=""),
            BodyPart(content_type="a/b\r\nX: y", content_id="", data=""),
            BodyPart(content_type="a/b", content_id="x>\r\nX: y", data=""),
            BodyPart(content_type="a/b", content_id="", data="x" * 40_000),
        ):
            with pytest.raises(PermanentError):
                await link.dial(
                    CALL, DialRequest(**{**fields, "leg": B, "uri": phone.uri, "parts": [bad]})
                )
        bad_from = {**fields, "leg": B, "uri": phone.uri, "from_uri": "x\r\nX: y"}
        with pytest.raises(PermanentError):
            await link.dial(CALL, DialRequest(**bad_from))
    headers, body = told["headers"], told["body"]
    assert headers["from"][0].startswith('"王" <sip:13800@onekey.example>')
    assert headers["p-asserted-identity"] == ['"W" <sip:13800@onekey.example>']
    assert headers["content-type"][0].startswith("multipart/mixed")
    assert "application/sdp" in body.lower()
    assert "application/pidf+xml" in body
    assert "<where@onekey>" in body
    assert location.strip() in body


async def test_causes_pass_both_ways(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        a, b = await world.phone("a", NEVER), await world.phone("b", Behaviour(answer_after_s=0.0))
        link = await world.worker()
        await link.dial(CALL, request(A, a.uri))
        await world.event(LegRinging, A)
        await link.hang_up(A, reason="elsewhere", cause=26)
        assert (await a.wait("ending", deadline=5)).data["reason"] == [
            'Q.850;cause=26;text="elsewhere"'
        ]
        await link.dial(CALL, request(B, b.uri))
        await world.answered(B)
        await link.hang_up(B, cause=31)
        assert (await b.wait("ending", deadline=5)).data["reason"] == ["Q.850;cause=31"]
        # The peer's cause: one worker calls another.
        two = await world.worker(1)
        await link.dial(
            CALL,
            DialRequest(
                leg=C,
                uri=f"sip:x@{world.config.contact(1)}",
                headers=[("X-Onekey-Call", "other")],
            ),
        )
        caller = LegId("other.caller-1")
        await wait_until(lambda: any(e.leg == caller for e in world.events))
        await two.answer(caller)
        await world.answered(C)
        await two.hang_up(caller, cause=17)
        ended = await world.event(LegEnded, C)
        assert (ended.q850, ended.by_us) == (17, False)
        assert (await world.event(LegEnded, caller)).q850 is None

"""Promises 8 and 9: a dead worker is noticed at once, a dead daemon ends no call."""

import asyncio
import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from drivers.api.errors import WorkerGone
from drivers.api.ids import LegId
from drivers.api.legs import AnyLegEvent, LegDigit, LegEnded, LegRinging, LegState
from drivers.sip import wire
from drivers.sip.link import SipWorkerLink
from protocols import wav
from sim.phone import NEVER, Behaviour, Phone
from sim.tones import level_dbfs, longest_gap_ms
from tests.drivers.sip.rig import CALL, Rig, alive, request, rig
from tests.waiting import wait_until

A, B = LegId("call.1"), LegId("call.2")


async def bridged(world: Rig) -> tuple[SipWorkerLink, Phone, Phone]:
    a = await world.phone("a", Behaviour(tone_hz=440, answer_after_s=0.0))
    b = await world.phone("b", Behaviour(tone_hz=1000, answer_after_s=0.0))
    link = await world.worker()
    await link.dial(CALL, request(A, a.uri))
    await link.dial(CALL, request(B, b.uri))
    await link.bridge(A, B)
    await world.answered(A, B)
    return link, a, b


async def test_kill_is_noticed_at_once_and_the_recording_can_be_mended(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        link, _, _ = await bridged(world)
        await link.record(CALL, tmp_path / "rec", segment_s=60)
        await asyncio.sleep(1.0)
        pending = asyncio.ensure_future(link.stop_recording(CALL))
        os.kill(link.pid, signal.SIGKILL)
        killed = time.monotonic()
        await asyncio.wait_for(link.closed(), 1)
        assert time.monotonic() - killed < 0.1
        with pytest.raises(WorkerGone):
            await pending
        with pytest.raises(WorkerGone):
            await link.statistics()
        assert await world.factory.adopt(0, world.events.append) is None
        assert list(world.factory.living_slots()) == []
        again = await world.worker()  # same slot, same ports
        assert again.pid != link.pid
    part = tmp_path / "rec" / "seg-0001.wav.part"
    data = bytearray(part.read_bytes())
    for patch in wav.repair(bytes(data[: wav.MAX_HEAD]), len(data)):
        data[patch.offset : patch.offset + len(patch.data)] = patch.data
    mended = part.with_suffix("")
    mended.write_bytes(data)
    assert wav.parse(bytes(data), len(data)).duration_s > 0.5
    assert level_dbfs(mended, 440) > -20


async def test_a_new_daemon_takes_over_and_audio_never_stops(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        link, a, b = await bridged(world)
        await link.record(CALL, tmp_path / "rec", segment_s=60)
        await asyncio.sleep(0.5)
        await link.detach()
        await asyncio.wait_for(link.closed(), 1)
        with pytest.raises(WorkerGone):
            await link.hang_up(A)
        a.command("dtmf 7")
        await asyncio.sleep(1.0)

        assert list(world.factory.living_slots()) == [0]
        missed: list[AnyLegEvent] = []
        again = await world.factory.adopt(0, missed.append)
        assert again is not None
        assert again.pid == link.pid
        legs = {leg.leg: leg for leg in again.snapshot.legs}
        assert {name: leg.state for name, leg in legs.items()} == {
            A: LegState.ANSWERED,
            B: LegState.ANSWERED,
        }
        assert (legs[A].call, legs[A].uri) == (CALL, a.uri)
        assert list(again.snapshot.bridges) == [(A, B)]
        assert dict(again.snapshot.recordings) == {CALL: tmp_path / "rec"}
        await wait_until(lambda: missed)
        assert [(type(e), getattr(e, "digit", "")) for e in missed] == [(LegDigit, "7")]
        assert not world.find(LegDigit, A)

        await again.hang_up(A)
        await again.hang_up(B)
        await wait_until(lambda: len([e for e in missed if isinstance(e, LegEnded)]) == 2)
        assert [file.name for file in await again.stop_recording(CALL)] == ["seg-0001.wav"]
        await b.wait("recorded", deadline=5)
        await a.wait("recorded", deadline=5)
    assert longest_gap_ms(a.record, 1000) <= 60  # A sent the digit, so only B's tone is whole
    assert level_dbfs(b.record, 440) > -20


async def test_a_second_daemon_replaces_the_first(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        first = await world.worker()
        second = await world.factory.adopt(0, world.events.append)
        assert second is not None
        await asyncio.wait_for(first.closed(), 1)
        assert not second.is_closed
        assert dict(await second.statistics()) == {}


async def test_unacknowledged_events_come_again_in_order(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        phone = await world.phone("a", NEVER)
        link = await world.worker()
        await link.detach()
        reader, writer = await asyncio.open_unix_connection(world.config.socket_path(0))
        writer.write(wire.encode(wire.Attach(id=0)))
        writer.write(wire.encode(wire.Dial(id=1, call=CALL, request=request(A, phone.uri))))
        await phone.wait("ringing", deadline=5)
        lines = [await reader.readline() for _ in range(4)]  # attached, dialled, done, ringing
        writer.close()
        assert sum(b'"event"' in line for line in lines) == 2
        again = await world.factory.adopt(0, world.events.append)
        assert again is not None
        await world.event(LegRinging, A)
        assert [type(e).__name__ for e in world.events] == ["LegDialled", "LegRinging"]


@pytest.mark.parametrize(
    "garbage", [b"\x00\xff\n", b"{}\n", b"x" * (wire.MAX_LINE + 10) + b"\n", b'{"cmd":"quit"']
)
async def test_garbage_on_the_socket_harms_nobody(tmp_path: Path, garbage: bytes) -> None:
    async with rig(tmp_path) as world:
        link = await world.worker()
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.settimeout(0)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(stranger, str(world.config.socket_path(0)))
            await loop.sock_sendall(stranger, garbage)
            stranger.shutdown(socket.SHUT_WR)
            assert await asyncio.wait_for(loop.sock_recv(stranger, 10), 2) == b""
        assert dict(await link.statistics()) == {}


async def test_commands_before_the_attach_are_refused(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        link = await world.worker()
        reader, writer = await asyncio.open_unix_connection(world.config.socket_path(0))
        writer.write(wire.encode(wire.Quit(id=3)))
        reply = wire.decode_message(await asyncio.wait_for(reader.readline(), 2))
        writer.close()
        assert isinstance(reply, wire.Failed)
        assert (reply.id, reply.kind) == (3, wire.ErrorKind.REFUSED)
        assert dict(await link.statistics()) == {}


async def test_a_mute_worker_counts_as_dead_and_its_slot_comes_back(tmp_path: Path) -> None:
    async with rig(tmp_path, command_s=0.3) as world:
        link = await world.worker()
        os.kill(link.pid, signal.SIGSTOP)
        try:
            with pytest.raises(WorkerGone):
                await link.statistics()
            await asyncio.wait_for(link.closed(), 1)
            assert await world.factory.adopt(0, world.events.append) is None
            await wait_until(lambda: not alive(link.pid))
            assert list(world.factory.living_slots()) == []
            assert (await world.worker()).pid != link.pid
        finally:
            with suppress(ProcessLookupError):
                os.kill(link.pid, signal.SIGCONT)


async def test_an_orphan_ends_but_not_while_it_carries_a_call(tmp_path: Path) -> None:
    async with rig(tmp_path, orphan_s=0.5) as world:
        phone = await world.phone("a", NEVER)
        link = await world.worker()
        await link.dial(CALL, request(A, phone.uri, ring_s=1.5))
        await phone.wait("ringing", deadline=5)
        await link.detach()
        await asyncio.sleep(1.0)
        assert alive(link.pid)
        assert phone.find("gone") is None
        await phone.wait("gone", deadline=5)
        await wait_until(lambda: not alive(link.pid))
        assert list(world.factory.living_slots()) == []


@pytest.mark.parametrize("how", ["quit", "SIGTERM"])
async def test_a_quitting_worker_hangs_up_and_closes_its_files(tmp_path: Path, how: str) -> None:
    async with rig(tmp_path) as world:
        link, a, b = await bridged(world)
        await link.record(CALL, tmp_path / "rec", segment_s=60)
        await asyncio.sleep(0.3)
        if how == "quit":
            await link.quit()
        else:
            os.kill(link.pid, signal.SIGINT)  # ignored: that is for the daemon
            os.kill(link.pid, signal.SIGTERM)
        await asyncio.wait_for(link.closed(), 3)
        for phone in (a, b):
            await phone.wait("gone", deadline=5)
        await wait_until(lambda: not alive(link.pid), deadline=3)
        assert {e.leg for e in world.events if isinstance(e, LegEnded)} == {A, B}
    segment = tmp_path / "rec" / "seg-0001.wav"
    assert wav.parse(segment.read_bytes(), segment.stat().st_size).intact

"""The pool over real PJSUA processes: a killed worker, a daemon that comes back, a clean end."""

import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from drivers.api.errors import WorkerGone
from drivers.api.ids import CallId, LegId
from drivers.api.legs import (
    CallEvent,
    CallRoom,
    DialRequest,
    LegAnswered,
    LegDialled,
    LegEnded,
    WorkerLost,
)
from drivers.sip.config import SipConfig
from drivers.sip.factory import SipWorkerFactory
from gateway.clock import SystemClock
from gateway.config import TelephonyConfig
from gateway.metrics import Metrics
from gateway.telephony.pool import WorkerPool
from sim.phone import Behaviour, Phone
from tests.waiting import free_port_range, wait_until

pytestmark = pytest.mark.e2e
SLOTS = 3
PHONE_PORTS = 32  # RTP
CALL = CallId("call")


def udp_block(count: int) -> int:
    """Return the first, even one of `count` free ports.

    Begins anywhere, since other tests run beside us; PJSIP wants RTP on even ports.
    """
    return free_port_range(count + count % 2, start=random.randrange(20_000, 30_000, 100))


def alive(pid: int) -> bool:
    """Tell whether a process still runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def to(peer: Phone, leg: str) -> DialRequest:
    return DialRequest(leg=LegId(leg), uri=peer.uri, ring_s=10.0)


@pytest.fixture
def sip(tmp_path: Path) -> SipConfig:
    # One block for all slots: 32 RTP ports each, then one SIP port each.
    first = udp_block(SLOTS * 33)
    return SipConfig(
        run_dir=tmp_path / "run", rtp_port_base=first, sip_port_base=first + SLOTS * 32
    )


@asynccontextmanager
async def daemon(
    sip: SipConfig, pids: set[int], *, least: int = 1, at_end: bool = True
) -> AsyncIterator[WorkerPool]:
    """Run a pool; `at_end` its workers quit, else they are left alive."""
    async with SipWorkerFactory(sip) as factory:
        config = TelephonyConfig(
            min_workers=least, max_workers=SLOTS, spare_workers=0, reserve_legs=0
        )
        pool = WorkerPool(config, factory, Metrics(), SystemClock())
        await pool.start()
        try:
            yield pool
        finally:
            pids |= {view.pid for view in pool.snapshot()}
            await pool.stop(workers="quit" if at_end else "leave")


@pytest.fixture
async def pids() -> AsyncIterator[set[int]]:
    """Collect the workers a test has seen; whatever is left of them ends with the test."""
    seen: set[int] = set()
    yield seen
    for pid in seen:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def phone(name: str, directory: Path) -> AsyncIterator[Phone]:
    first = udp_block(PHONE_PORTS + 1)
    answers = Behaviour(tone_hz=440, answer_after_s=0.0)
    async with Phone(
        name, port=first + PHONE_PORTS, rtp_base=first, directory=directory, behaviour=answers
    ) as made:
        yield made


async def talk(room: CallRoom, heard: list[CallEvent], *phones: Phone) -> None:
    for n, each in enumerate(phones, start=1):
        await room.dial(to(each, f"call.{n}"))
    await wait_until(lambda: len([e for e in heard if isinstance(e, LegAnswered)]) == len(phones))


async def test_a_killed_worker_is_told_and_replaced(
    sip: SipConfig, tmp_path: Path, pids: set[int]
) -> None:
    async with phone("a", tmp_path) as a, daemon(sip, pids) as pool:
        heard: list[CallEvent] = []
        room = await pool.room(CALL, legs=2, emergency=True, on_event=heard.append)
        await talk(room, heard, a)
        old = room.link.pid
        pids.add(old)
        os.kill(old, signal.SIGKILL)
        killed = time.monotonic()
        await wait_until(lambda: any(isinstance(e, WorkerLost) for e in heard))
        with pytest.raises(WorkerGone):
            await room.dial(to(a, "call.2"))
        again: list[CallEvent] = []
        fresh = await pool.room(CALL, legs=2, emergency=True, on_event=again.append)
        await fresh.dial(to(a, "call.3"))
        await wait_until(lambda: any(isinstance(e, LegDialled) for e in again))
        assert time.monotonic() - killed < 3  # the promise is three seconds to both parties
        assert fresh.link.pid != old
        await room.release()
        assert sum(isinstance(e, WorkerLost) for e in heard) == 1
        await fresh.link.hang_up(LegId("call.3"))
        await wait_until(lambda: any(isinstance(e, LegEnded) for e in again))
        await fresh.release()
        assert all(view.legs_used == 0 for view in pool.snapshot())


async def test_calls_outlive_the_pool_and_are_taken_over(
    sip: SipConfig, tmp_path: Path, pids: set[int]
) -> None:
    async with phone("a", tmp_path) as a, phone("b", tmp_path) as b:
        async with daemon(sip, pids, at_end=False) as pool:
            heard: list[CallEvent] = []
            room = await pool.room(CALL, legs=2, emergency=True, on_event=heard.append)
            await talk(room, heard, a, b)
            carrier = room.link.pid
        assert alive(carrier)
        async with daemon(sip, pids) as pool:
            views = {view.pid: view for view in pool.snapshot()}
            assert views[carrier].calls == (CALL,)
            assert views[carrier].legs_used == 2
            after: list[CallEvent] = []
            adopted = pool.adopted(CALL, after.append)
            assert adopted is not None
            assert {leg.leg for leg in adopted.link.snapshot.legs} == {"call.1", "call.2"}
            for leg in ("call.1", "call.2"):
                await adopted.link.hang_up(LegId(leg))
            await wait_until(lambda: len([e for e in after if isinstance(e, LegEnded)]) == 2)
            await adopted.release()
            assert all(view.legs_used == 0 for view in pool.snapshot())
    await wait_until(lambda: not alive(carrier))


async def test_several_workers_start_side_by_side_and_quit(sip: SipConfig, pids: set[int]) -> None:
    async with daemon(sip, pids, least=SLOTS) as pool:
        assert [view.slot for view in pool.snapshot()] == list(range(SLOTS))
        running = [view.pid for view in pool.snapshot()]
    await wait_until(lambda: not any(alive(pid) for pid in running))

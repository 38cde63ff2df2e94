"""A worker, phones and what was said: the furniture of the tests with real PJSUA processes."""

import os
import random
import signal
import socket
import struct
import wave
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from math import pi, sin
from pathlib import Path
from typing import TypeVar

from drivers.api.ids import CallId, LegId
from drivers.api.legs import AnyLegEvent, DialRequest, LegAnswered, LegMedia
from drivers.sip.config import SipConfig
from drivers.sip.factory import SipWorkerFactory
from drivers.sip.link import SipWorkerLink
from sim.phone import Behaviour, Phone
from tests.waiting import free_port_range, wait_until

CALL = CallId("call")
E = TypeVar("E", bound=AnyLegEvent)
RTP = 32  # ports per worker and per phone
WORKERS, PHONES = 6, 3
ALL = (WORKERS + PHONES) * (RTP + 1)


class Rig:
    """One pool of one slot (or two), and its events."""

    def __init__(self, directory: Path, stack: AsyncExitStack, **settings: object) -> None:
        # One block, so that nobody takes what is not bound yet; begun anywhere, since other tests
        # run beside us. RTP first: PJSIP wants even ports there.
        first = free_port_range(ALL, start=random.randrange(16_000, 30_000, 2))
        self._phone_rtp = first + WORKERS * RTP
        self._phone_sip = first + (WORKERS + PHONES) * RTP + WORKERS
        self._phones = 0
        self.directory = directory
        self.config = SipConfig(
            run_dir=directory / "run",
            sip_port_base=first + (WORKERS + PHONES) * RTP,
            rtp_port_base=first,
            rtp_ports_per_worker=RTP,
            **settings,  # type: ignore[arg-type] # of SipConfig
        )
        self.events: list[AnyLegEvent] = []
        self.factory = SipWorkerFactory(self.config)
        self._stack = stack

    async def worker(self, slot: int = 0) -> SipWorkerLink:
        """Start a worker that the test's end will end."""
        link = await self.factory.spawn(slot, self.events.append)
        self._stack.push_async_callback(_gone, link.pid)
        return link

    async def phone(self, name: str, behaviour: Behaviour | None = None) -> Phone:
        """Start a phone; it records to <name>.wav."""
        index, self._phones = self._phones, self._phones + 1
        assert index < PHONES
        phone = Phone(
            name,
            port=self._phone_sip + index,
            rtp_base=self._phone_rtp + index * RTP,
            directory=self.directory,
            behaviour=behaviour,
        )
        return await self._stack.enter_async_context(phone)

    def sos(self, phone: Phone, call: str = CALL, slot: int = 0) -> None:
        """Let `phone` call the worker of `slot` as the edge would hand its call over."""
        phone.command(f"header X-Onekey-Call: {call}")
        phone.command(f"call sip:sos@{self.config.contact(slot)}")

    async def event(self, kind: type[E], leg: str, *, deadline: float = 5.0) -> E:
        """Wait for the first event of `kind` for `leg`."""
        await wait_until(
            lambda: self.find(kind, leg), deadline=deadline, what=f"{kind.__name__} {leg}"
        )
        return self.find(kind, leg)[0]

    def find(self, kind: type[E], leg: str) -> list[E]:
        """Return the events of `kind` for `leg`."""
        return [e for e in self.events if isinstance(e, kind) and getattr(e, "leg", "") == leg]

    async def answered(self, *legs: str) -> None:
        """Wait until all `legs` were answered and have audio."""
        for leg in legs:
            await self.event(LegAnswered, leg)
            await self.event(LegMedia, leg)


@asynccontextmanager
async def rig(directory: Path, **settings: object) -> AsyncIterator[Rig]:
    """Run a factory; its workers and phones end with it."""
    async with AsyncExitStack() as stack:
        made = Rig(directory, stack, **settings)
        await stack.enter_async_context(made.factory)
        yield made


def request(leg: str, uri: str, *, ring_s: float = 10.0) -> DialRequest:
    """Return a plain request."""
    return DialRequest(leg=LegId(leg), uri=uri, ring_s=ring_s)


def write_tone(path: Path, hz: int, seconds: float) -> Path:
    """Write a WAV with a tone of -10 dBFS."""
    count = int(8000 * seconds)
    samples = [int(10_000 * sin(2 * pi * hz * i / 8000)) for i in range(count)]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(struct.pack(f"<{count}h", *samples))
    return path


def alive(pid: int) -> bool:
    """Tell whether a process still runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def open_files(pid: int) -> int:
    """Return how many file descriptors a process holds."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def _gone(pid: int) -> None:
    if alive(pid):
        os.kill(pid, signal.SIGTERM)
        await wait_until(lambda: not alive(pid), deadline=5, what=f"worker {pid} ends")


def silent_port() -> socket.socket:
    """Return a bound UDP socket that never answers."""
    hole = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    hole.bind(("127.0.0.1", 0))
    return hole

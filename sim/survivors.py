"""Finds and ends what is left of a simulated world, by a mark in its processes' environment."""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path


def marked(mark: str) -> list[int]:
    """Return the living processes whose environment at their start carried `mark` (NAME=value).

    Finds grandchildren too, such as workers that outlive the gateway on purpose: they inherit the
    environment. Ours are never confused with anybody else's.
    """
    wanted = mark.encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # ended meanwhile, or another user's
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return sorted(found)


async def sweep(mark: str, *, patience: float = 0.5) -> list[str]:
    """End whatever still carries `mark`; returns the command lines of those that had to be killed.

    `patience` is how many seconds they get to end by themselves, their parents being gone.
    """
    end = time.monotonic() + patience
    while (left := marked(mark)) and time.monotonic() < end:  # noqa: ASYNC110 /proc has no event
        await asyncio.sleep(0.02)
    names = [_command_line(pid) for pid in left]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return names


def _command_line(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return f"{pid}"
    return f"{pid} {b' '.join(words).decode(errors='replace').strip()}"

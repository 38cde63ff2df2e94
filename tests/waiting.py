"""Waiting for a condition with a deadline, instead of sleeping for luck."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable


async def wait_until(
    condition: Callable[[], object], *, deadline: float = 5.0, what: str = ""
) -> None:
    """Return as soon as `condition()` is true; fail after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {what or condition}")
        await asyncio.sleep(0.01)


def free_port() -> int:
    """Return a port on 127.0.0.1 on which nobody listens right now, neither TCP nor UDP."""
    for _ in range(50):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            with contextlib.suppress(OSError):
                udp.bind(("127.0.0.1", port))
                return port
    raise AssertionError("no port is free for both TCP and UDP")


def free_port_range(count: int, *, start: int = 20_000) -> int:
    """Return the first of `count` consecutive UDP ports that are free right now."""
    for first in range(start, 60_000 - count, count):
        probes = []
        try:
            for port in range(first, first + count):
                probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                probes.append(probe)
                probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        else:
            return first
        finally:
            for probe in probes:
                probe.close()
    raise AssertionError(f"no {count} consecutive free ports")

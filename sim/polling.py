"""Waiting for something that tells nobody when it happens, with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.02


async def poll(look: Callable[[], Awaitable[T | None]], what: str, *, deadline: float) -> T:
    """Return the first true answer of `look`; raises TimeoutError naming `what`."""
    end = time.monotonic() + deadline
    while not (answer := await look()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {deadline} s in vain for {what}")
        await asyncio.sleep(POLL_S)
    return answer

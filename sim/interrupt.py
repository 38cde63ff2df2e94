"""Runs a program's main coroutine so that Ctrl-C, SIGTERM and a closed terminal end it in order."""

import asyncio
import signal
from collections.abc import Coroutine

# 128 + SIGINT, as shells report it.
INTERRUPTED = 130


def run_interruptibly(main: Coroutine[None, None, int]) -> int:
    """Run `main`; returns its exit code, or INTERRUPTED after a signal.

    The first signal cancels `main`, whose `finally` blocks then end what it started; further ones
    are ignored, so that an impatient second Ctrl-C cannot leave processes behind.
    """
    return asyncio.run(_watched(main))


async def _watched(main: Coroutine[None, None, int]) -> int:
    task = asyncio.create_task(main)
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupt)
    try:
        return await task
    except asyncio.CancelledError:
        if not interrupted:
            raise
        return INTERRUPTED

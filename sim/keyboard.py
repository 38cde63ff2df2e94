"""Lines typed at the terminal, without a thread and without blocking the loop."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator


async def typed_lines() -> AsyncGenerator[str, None]:
    """Yield each line of stdin; waits for ever once there is no more, or never was, a keyboard."""
    lines: asyncio.Queue[str] = asyncio.Queue(maxsize=16)
    loop = asyncio.get_running_loop()
    descriptor = sys.stdin.fileno()

    def read() -> None:
        text = os.read(descriptor, 4096).decode("utf-8", "replace")
        if not text:
            loop.remove_reader(descriptor)
        for line in text.splitlines():
            if not lines.full():  # a key held down: what is typed beyond is not wanted
                lines.put_nowait(line)

    try:
        loop.add_reader(descriptor, read)
    except PermissionError:  # a file or /dev/null: epoll(7) does not take those
        await asyncio.Event().wait()
    try:
        while True:
            yield await lines.get()
    finally:
        loop.remove_reader(descriptor)

"""Says what is going on while something takes its time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Progress:
    """Writes one line per step: its name at once, the result and the seconds when it is done."""

    def __init__(self, stream: TextIO | None) -> None:
        """Write to `stream`; None is silence."""
        self._stream = stream

    @contextmanager
    def step(self, name: str, done: str = "ready") -> Iterator[None]:
        """Tell that `name` begins, and when its block has ended, how."""
        begun = time.monotonic()
        self._write(f"  {name} … ")
        try:
            yield
        except BaseException:
            self._write(f"failed after {time.monotonic() - begun:.1f} s\n")
            raise
        self._write(f"{done} {time.monotonic() - begun:.1f} s\n")

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()

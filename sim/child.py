"""A child process of the simulator: its own process group, its output in a file, ended by its pid.

Children get their own session, so that Ctrl-C reaches only us and we end them in order.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path


class ChildError(Exception):
    """A child did not start, or ended too early; the text carries the tail of its log."""


class Child:
    """One process that we start and end. May be started again after it has ended."""

    def __init__(
        self, name: str, argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        """Take the command line `argv`; `env` is added to our own environment."""
        self.name = name
        self.argv = tuple(argv)
        self.log = log
        self._env = dict(env or {})
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Return the process id of the present or last run; raises ChildError before the first."""
        return self._started().pid

    @property
    def running(self) -> bool:
        """Tell whether the process lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def returncode(self) -> int | None:
        """Return how the last run ended, negative for a signal; None while it lives."""
        return None if self._process is None else self._process.returncode

    async def start(self, *, talk: bool = False) -> asyncio.subprocess.Process:
        """Start the process; with `talk` its stdin and stdout are pipes, else they are closed.

        stderr, and stdout without `talk`, are appended to the log file.
        """
        if self.running:
            raise ChildError(f"{self.name} runs already (pid {self.pid})")
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=pipe if talk else nothing,
                stdout=pipe if talk else log,
                stderr=log,
                env={**os.environ, **self._env},
                start_new_session=True,
            )
        return self._process

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the process alone; one that has ended is no error."""
        with contextlib.suppress(ProcessLookupError):
            self._started().send_signal(how)

    async def wait(self, deadline: float) -> int:
        """Wait up to `deadline` seconds for the end; raises ChildError when it lives on."""
        try:
            return await asyncio.wait_for(self._started().wait(), deadline)
        except TimeoutError:
            raise ChildError(f"{self.name} did not end within {deadline} s") from None

    async def stop(self, how: signal.Signals = signal.SIGTERM, *, deadline: float = 3.0) -> bool:
        """End the process with `how`, after `deadline` seconds with SIGKILL to its whole group.

        Returns whether it went by itself; one that does not run is no error.
        """
        if not self.running:
            return True
        self.kill(how)
        try:
            await self.wait(deadline)
        except ChildError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)  # the group is its own: start_new_session
            await self._started().wait()
            return False
        return True

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of the log."""
        return tail(self.log, lines)

    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise ChildError(f"{self.name} was never started")
        return self._process


def tail(path: Path, lines: int = 20) -> str:
    """Return the last `lines` lines of a log file, or a word that there is none."""
    if not path.exists():
        return f"(no {path.name})"
    return "\n".join(path.read_text("utf-8", "replace").splitlines()[-lines:]) or "(empty)"


async def run_to_end(child: Child, *, deadline: float) -> None:
    """Run a command that ends by itself; raises ChildError with its log when it fails."""
    await child.start()
    try:
        code = await child.wait(deadline)
    finally:
        await child.stop(signal.SIGKILL)
    if code != 0:
        raise ChildError(f"{child.name} failed with exit code {code}:\n{child.tail()}")

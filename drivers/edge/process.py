"""Kamailio as a process that outlives us: started, adopted, restarted, ended by its process id.

Promise 4 (voice does not wait for us) is why it has its own session and no pipe to us: when the
daemon crashes or drains, the edge goes on, and the next daemon finds it by its pid file.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import structlog

from drivers.api.edge import EdgeUnavailable
from drivers.edge.config import EdgeConfig

log = structlog.get_logger()

BACKOFF_MIN_S, BACKOFF_MAX_S = 0.1, 10.0
STEADY_S = 30.0  # whoever lives so long gets a fresh back-off
KILLED_S = 2.0  # the kernel clears up after SIGKILL within milliseconds
_LOOK_S = 0.02


class EdgeProcess:
    """One Kamailio with `config.config_path`."""

    def __init__(self, config: EdgeConfig) -> None:
        self._config = config
        self._pid: int | None = None
        self.starts = 0

    @property
    def pid(self) -> int | None:
        """Return the process id of the first process; None when there is none."""
        return self._pid

    async def start(self, *, fresh: bool) -> bool:
        """Adopt a living edge, or start one; with `fresh` a living one is ended first.

        Returns whether it was adopted. Raises EdgeUnavailable when it cannot be started.
        """
        left = await self._left_over()
        if left is not None and not fresh:
            self._pid = left
            log.info("edge_adopted", pid=left)
            return True
        await self._clear()
        self._spawn()
        return False

    async def supervise(self) -> None:
        """Start it again whenever it ends, with a growing wait; runs until cancelled."""
        loop = asyncio.get_running_loop()
        wait_s = BACKOFF_MIN_S
        while True:
            since = loop.time()
            status = await self._ended()
            steady = loop.time() - since >= STEADY_S
            wait_s = BACKOFF_MIN_S if steady else min(wait_s * 2, BACKOFF_MAX_S)
            log.error("edge_ended", pid=self._pid, status=status, again_in_s=wait_s)
            self._pid = None
            await self._clear()
            await asyncio.sleep(wait_s)
            try:
                self._spawn()
            except EdgeUnavailable as exc:
                log.error("edge_start_failed", detail=str(exc))  # noqa: TRY400 no defect of ours

    async def stop(self) -> None:
        """End it: SIGTERM, after `stop_s` SIGKILL to all its processes."""
        pid = self._pid
        if pid is not None:
            _signal(pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.stop_s):
                    await self._ended()
        await self._clear()
        self._pid = None
        self._config.pid_path.unlink(missing_ok=True)

    async def restart(self) -> None:
        """Kill it, so that `supervise` starts it again; for one that lives but does not answer."""
        for pid in await self._processes():
            _signal(pid, signal.SIGKILL)

    def _spawn(self) -> None:
        binary = shutil.which(self._config.binary, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if binary is None:
            raise EdgeUnavailable(f"{self._config.binary} is not installed")
        out = os.O_WRONLY | os.O_CREAT | os.O_APPEND  # append: the log may be cut while in use
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self._config.log_path), out, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        # Not asyncio's subprocess: that kills its child when the loop goes, and this must live on.
        self._pid = os.posix_spawn(
            binary, self._argv(binary), os.environ, file_actions=actions, setsid=True
        )
        self.starts += 1
        self._config.pid_path.write_text(f"{self._pid}\n", "ascii")
        log.info("edge_started", pid=self._pid)

    def _argv(self, binary: str) -> list[str]:
        memory = ["-m", str(self._config.shared_memory_mb), "-M"]
        memory.append(str(self._config.private_memory_mb))
        return [binary, "-f", str(self._config.config_path), "-DD", "-E", *memory]

    async def _left_over(self) -> int | None:
        try:
            pid = int(self._config.pid_path.read_text("ascii"))
        except (OSError, ValueError):
            return None
        return pid if pid in await self._processes() else None

    async def _processes(self) -> Sequence[int]:
        return await asyncio.to_thread(processes_of, self._config.config_path)

    async def _clear(self) -> None:
        """Kill what is left: the children of a killed first process would keep its ports."""
        loop = asyncio.get_running_loop()
        end = loop.time() + KILLED_S
        while left := await self._processes():
            if loop.time() > end:
                raise EdgeUnavailable(f"processes {left} of an earlier edge do not die")
            for pid in left:
                _signal(pid, signal.SIGKILL)
            self._reap()
            await asyncio.sleep(_LOOK_S)
        self._config.rpc_path.unlink(missing_ok=True)

    async def _ended(self) -> int | None:
        """Wait for the end of the first process; returns its exit code if it was our child."""
        pid = self._pid
        if pid is None:
            return None
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return self._reap()
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        loop.add_reader(fd, _finish, ended)
        try:
            await ended
        finally:
            loop.remove_reader(fd)
            os.close(fd)
        return self._reap()

    def _reap(self) -> int | None:
        """Return the exit code; None while it lives, or when it is no child of ours."""
        if self._pid is None:
            return None
        try:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError:  # adopted, or reaped before
            return None
        return os.waitstatus_to_exitcode(status) if pid else None


def processes_of(config_path: Path) -> Sequence[int]:
    """Return the living processes whose command line names `config_path` after -f. Blocks."""
    wanted = [b"-f", os.fsencode(config_path)]
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _names(entry, wanted)
    ]


def _names(entry: Path, wanted: list[bytes]) -> bool:
    # A process may end while we look; a zombie has an empty command line.
    try:
        words = (entry / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return words[1:3] == wanted


def _signal(pid: int, how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)


def _finish(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)

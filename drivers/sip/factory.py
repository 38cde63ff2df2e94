"""Starts workers through the nursery, and finds those that an earlier daemon left alive."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import structlog

from drivers.api.errors import TransientError, WorkerGone
from drivers.api.legs import AnyLegEvent
from drivers.sip.config import SipConfig
from drivers.sip.link import MuteWorker, SipWorkerLink
from drivers.sip.nursery import Spawn, Spawned, encode_config

log = structlog.get_logger()

NURSERY_END_S = 3.0
DYING_S, DYING_LOOKS = 1.0, 20  # a killed process closes its sockets within milliseconds
_SOCKET = re.compile(r"worker-(\d+)\.sock")


class SipWorkerFactory:
    """WorkerFactory for PJSUA workers. `start` before `spawn`; `close` leaves the workers alive."""

    def __init__(self, config: SipConfig) -> None:
        self._config = config
        self._nursery: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._births: dict[int, asyncio.Future[Spawned]] = {}
        self._links: set[SipWorkerLink] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Start the nursery; raises OSError when `run_dir` cannot be written."""
        self._config.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._config.run_dir / "nursery.log").open("wb") as out:
            self._nursery = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "drivers.sip.nursery",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=out,
                cwd=Path(__file__).parents[2],
                start_new_session=True,  # Ctrl-C in the terminal is for the daemon alone
            )
        assert self._nursery.stdin is not None
        self._nursery.stdin.write(encode_config(self._config))
        self._reading = asyncio.get_running_loop().create_task(
            self._read(self._nursery), name="nursery"
        )

    async def close(self) -> None:
        """End the nursery and all links; the workers and their calls stay."""
        for link in self._links:
            await link.detach()
        self._links.clear()
        await self._end_nursery()

    async def _end_nursery(self) -> None:
        if self._nursery is None or self._reading is None:
            return
        assert self._nursery.stdin is not None
        self._nursery.stdin.close()
        try:
            async with asyncio.timeout(NURSERY_END_S):
                await self._nursery.wait()
        except TimeoutError:
            self._nursery.kill()
            await self._nursery.wait()
        self._reading.cancel()
        await asyncio.wait([self._reading])
        self._nursery = self._reading = None

    async def spawn(self, slot: int, on_event: Callable[[AnyLegEvent], None]) -> SipWorkerLink:
        """Start the process of `slot` and attach; raises TransientError when it fails to."""
        if slot in self._births:
            raise TransientError(f"slot {slot} is being started")
        birth: asyncio.Future[Spawned] = asyncio.get_running_loop().create_future()
        self._births[slot] = birth
        try:
            async with asyncio.timeout(self._config.start_s):
                await self._request(slot)
                born = await birth
            if born.error:
                raise TransientError(f"worker {slot}: {born.error}")
            return await self._attach(slot, on_event)
        except MuteWorker as exc:
            self._kill(slot, exc.pid)
            raise TransientError(str(exc)) from exc
        except (OSError, TimeoutError) as exc:
            raise TransientError(f"worker {slot} did not start: {exc}") from exc
        finally:
            del self._births[slot]

    async def adopt(
        self, slot: int, on_event: Callable[[AnyLegEvent], None]
    ) -> SipWorkerLink | None:
        """Attach to a living worker of `slot`; None (and its socket removed) when there is none.

        One that lives but says nothing is killed: it would keep its slot, its ports and its calls
        for ever. Events that no daemon has taken yet follow. Raises WorkerGone when it talks
        nonsense.
        """
        for _ in range(DYING_LOOKS):
            try:
                return await self._attach(slot, on_event)
            except (ConnectionRefusedError, FileNotFoundError):
                self._config.socket_path(slot).unlink(missing_ok=True)
                return None
            except MuteWorker as exc:
                self._kill(slot, exc.pid)
                return None
            except ConnectionResetError:  # it took the connection and died: look again
                await asyncio.sleep(DYING_S / DYING_LOOKS)
        raise WorkerGone(f"slot {slot} hangs up on us")

    def _kill(self, slot: int, pid: int) -> None:
        log.error("mute_worker_killed", slot=slot, pid=pid)
        with contextlib.suppress(ProcessLookupError):  # it died by itself meanwhile
            os.kill(pid, signal.SIGKILL)
        self._config.socket_path(slot).unlink(missing_ok=True)

    def living_slots(self) -> Sequence[int]:
        """Return the slots whose sockets exist."""
        names = (path.name for path in self._config.run_dir.glob("worker-*.sock"))
        return sorted(int(found[1]) for found in map(_SOCKET.fullmatch, names) if found)

    async def _attach(self, slot: int, on_event: Callable[[AnyLegEvent], None]) -> SipWorkerLink:
        path = self._config.socket_path(slot)
        link = await SipWorkerLink.attach(slot, path, on_event, command_s=self._config.command_s)
        self._links = {old for old in self._links if not old.is_closed} | {link}
        return link

    async def _request(self, slot: int) -> None:
        if self._nursery is None or self._nursery.returncode is not None:
            log.warning("nursery_restarts")
            await self._end_nursery()
            await self.start()
        assert self._nursery is not None
        assert self._nursery.stdin is not None
        self._nursery.stdin.write(msgspec.json.encode(Spawn(slot=slot)) + b"\n")
        await self._nursery.stdin.drain()

    async def _read(self, nursery: asyncio.subprocess.Process) -> None:
        assert nursery.stdout is not None
        try:
            async for line in nursery.stdout:
                born = msgspec.json.decode(line, type=Spawned)
                birth = self._births.get(born.slot)
                if birth is not None and not birth.done():
                    birth.set_result(born)
        finally:
            for birth in self._births.values():
                if not birth.done():
                    birth.set_exception(TransientError("the nursery ended"))

"""The worker process: one PJSUA endpoint behind a Unix socket.

It belongs to no daemon: daemons attach and go, calls stay. Started by `drivers.sip.nursery`.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pjsua2 as pj
import structlog

from drivers.api.legs import AnyLegEvent
from drivers.sip import wire
from drivers.sip.backlog import Backlog
from drivers.sip.config import SipConfig
from drivers.sip.orders import execute
from drivers.sip.sending import CommandRefused
from drivers.sip.stack import SipStack
from drivers.sip.switchboard import Switchboard
from drivers.sip.wire import ErrorKind
from protocols.errors import DecodeError

log = structlog.get_logger()

# A daemon that lets so much pile up does not read: it is dropped and may attach again.
MAX_UNREAD = 1_048_576
QUIT_WAIT_S = 0.5  # BYEs are answered in one round trip
FLUSH_S = 0.5
STACK_END_S = 3  # libDestroy takes 0.1 s; a hanging one must not keep the slot


class Worker:
    """Serves at most one daemon at a time; `run` returns when the worker has quit."""

    def __init__(self, config: SipConfig, slot: int, stack: SipStack) -> None:
        self._config = config
        self._slot = slot
        self._path = config.socket_path(slot)
        self._loop = asyncio.get_running_loop()
        self._backlog = Backlog()
        self._board = Switchboard(config, stack, self._emit)
        self._daemon: asyncio.StreamWriter | None = None
        self._orphan: asyncio.TimerHandle | None = None
        self._deserted: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._quit = asyncio.Event()

    async def run(self, listener: socket.socket, ready: Callable[[], None]) -> None:
        """Serve on `listener` until `quit` or SIGTERM, then end all calls and files."""
        self._loop.add_signal_handler(signal.SIGTERM, self._quit.set)
        server = await asyncio.start_unix_server(self._serve, sock=listener, limit=wire.MAX_LINE)
        self._watch_orphan()
        ready()
        await self._quit.wait()
        server.close()
        await self._board.close(QUIT_WAIT_S)
        self._path.unlink(missing_ok=True)
        if self._daemon is not None:
            self._daemon.close()
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(FLUSH_S):
                    await self._daemon.wait_closed()

    def _emit(self, event: AnyLegEvent) -> None:
        seq = self._backlog.append(event)
        if self._daemon is not None:
            self._send(self._daemon, wire.encode_event(seq, event))

    def _send(self, writer: asyncio.StreamWriter, line: bytes) -> None:
        writer.write(line)
        if writer.transport.get_write_buffer_size() > MAX_UNREAD:
            log.warning("daemon_does_not_read", unread=writer.transport.get_write_buffer_size())
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async for line in reader:
                self._handle(line, writer)
        except (ConnectionError, DecodeError, ValueError) as exc:  # ValueError: line too long
            log.warning("daemon_connection_failed", detail=str(exc)[:200])
        finally:
            if self._daemon is writer:
                self._daemon = None
                self._on_daemon_gone()
            writer.close()

    def _handle(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        command = wire.decode_command(line)
        if isinstance(command, wire.Attach):
            self._attach(command, writer)
        elif writer is not self._daemon:
            self._fail(writer, command.id, ErrorKind.REFUSED, "not attached")
        elif isinstance(command, wire.Acknowledge):
            self._backlog.acknowledge(command.seq)
        elif isinstance(command, wire.StopRecording):
            self._start(self._stop_recording(command, writer))
        else:
            self._carry_out(command, writer)

    def _attach(self, command: wire.Attach, writer: asyncio.StreamWriter) -> None:
        if self._daemon is not None and self._daemon is not writer:
            log.info("daemon_replaced")
            self._daemon.close()
        self._daemon = writer
        self._board.attend(present=True)
        for timer in (self._orphan, self._deserted):
            if timer is not None:
                timer.cancel()
        self._orphan = self._deserted = None
        reply = wire.Attached(
            id=command.id,
            pid=os.getpid(),
            legs_limit=self._config.legs_per_worker,
            contact=self._config.contact(self._slot),
            dropped=self._backlog.dropped,
            snapshot=self._board.snapshot(),
        )
        self._send(writer, wire.encode(reply))
        for seq, event in self._backlog.pending():
            self._send(writer, wire.encode_event(seq, event))

    def _carry_out(self, command: wire.Command, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(command, wire.GetStatistics):
                reply: wire.Reply = wire.Statistics(id=command.id, legs=self._board.statistics())
            else:
                if isinstance(command, wire.Quit):
                    self._quit.set()
                else:
                    execute(self._board, command)
                reply = wire.Done(id=command.id)
        except CommandRefused as exc:
            self._fail(writer, command.id, exc.kind, str(exc))
            return
        self._send(writer, wire.encode(reply))

    async def _stop_recording(
        self, command: wire.StopRecording, writer: asyncio.StreamWriter
    ) -> None:
        files = await self._board.stop_recording(command.call)
        self._send(writer, wire.encode(wire.Files(id=command.id, files=files)))

    def _start(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _fail(
        self, writer: asyncio.StreamWriter, command: int, kind: ErrorKind, detail: str
    ) -> None:
        self._send(writer, wire.encode(wire.Failed(id=command, kind=kind, detail=detail)))

    def _on_daemon_gone(self) -> None:
        self._board.attend(present=False)
        self._deserted = self._loop.call_later(self._config.deserted_s, self._board.turn_away)
        self._watch_orphan()

    def _watch_orphan(self) -> None:
        if self._orphan is None:
            self._orphan = self._loop.call_later(self._config.orphan_s, self._on_orphaned)

    def _on_orphaned(self) -> None:
        self._orphan = None
        if self._board.idle:
            log.info("orphan_exits")
            self._quit.set()
        else:
            self._watch_orphan()


def listen(path: Path) -> socket.socket:
    """Return a listening socket at `path`, in place of a dead one; OSError if one lives there."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        else:
            raise OSError(f"{path} is in use")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen()
    return listener


def main(config: SipConfig, slot: int, ready: Callable[[], None]) -> None:
    """Be the worker of `slot` and never return; calls `ready` once the socket listens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the daemon, which decides
    structlog.contextvars.bind_contextvars(slot=slot)
    try:
        stack = SipStack(config, slot)
        stack.start()
        listener = listen(config.socket_path(slot))
    except pj.Error as exc:
        raise OSError(f"SIP stack of slot {slot}: {exc.reason}") from exc
    asyncio.run(_serve(config, slot, stack, listener, ready))


async def _serve(
    config: SipConfig,
    slot: int,
    stack: SipStack,
    listener: socket.socket,
    ready: Callable[[], None],
) -> None:
    log.info("worker_ready", pid=os.getpid())
    await Worker(config, slot, stack).run(listener, ready)
    log.info("worker_quits")
    signal.alarm(STACK_END_S)
    stack.close()
    os._exit(0)  # PJSIP's static destructors and Python's would race

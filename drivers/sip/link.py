"""The daemon's end of one worker: commands with a deadline, events in order."""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import structlog

from drivers.api.errors import NoCapacity, PermanentError, TransientError, UnknownLeg, WorkerGone
from drivers.api.ids import CallId, LegId
from drivers.api.legs import AnyLegEvent, DialRequest, LegOutcome, StreamStats, WorkerSnapshot
from drivers.sip import wire
from drivers.sip.wire import ErrorKind
from protocols.errors import DecodeError

log = structlog.get_logger()

_ERRORS: Mapping[ErrorKind, type[Exception]] = {
    ErrorKind.NO_CAPACITY: NoCapacity,
    ErrorKind.UNKNOWN_LEG: UnknownLeg,
    ErrorKind.REFUSED: PermanentError,
    ErrorKind.FAILED: TransientError,
}
_UCRED = struct.Struct("3i")  # pid, uid, gid
_Reply = TypeVar("_Reply", bound=wire.ReplyBase)


class MuteWorker(WorkerGone):
    """The process `pid` listens on the socket of a slot and says nothing."""

    def __init__(self, slot: int, pid: int) -> None:
        super().__init__(f"slot {slot} does not answer")
        self.pid = pid


class SipWorkerLink:
    """One connection to one worker. Made by `attach`; ends with the connection.

    Commands raise WorkerGone once the worker died or left `command_s` seconds without an answer
    (the link is then closed: half a worker is none), and what `_ERRORS` says otherwise.
    """

    def __init__(
        self,
        slot: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        on_event: Callable[[AnyLegEvent], None],
        command_s: float,
    ) -> None:
        self._slot = slot
        self._reader = reader
        self._writer = writer
        self._on_event = on_event
        self._command_s = command_s
        self._next_id = 0
        self._pending: dict[int, asyncio.Future[wire.Reply]] = {}
        self._closed = asyncio.Event()
        self._about: wire.Attached | None = None
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def attach(
        cls, slot: int, path: Path, on_event: Callable[[AnyLegEvent], None], *, command_s: float
    ) -> "SipWorkerLink":
        """Connect to the socket at `path`.

        Raises ConnectionResetError if the worker hangs up on us (it dies, most likely), any other
        OSError if nobody listens, MuteWorker if it says nothing, WorkerGone if it talks nonsense.

        Events come from a task of the link, hence never before this returns.
        """
        reader, writer = await asyncio.open_unix_connection(str(path), limit=wire.MAX_LINE)
        link = cls(slot, reader, writer, on_event=on_event, command_s=command_s)
        pid = _peer_pid(writer)
        writer.write(wire.encode(wire.Attach(id=0)))
        try:
            async with asyncio.timeout(command_s):
                line = await reader.readline()
            if not line:
                raise ConnectionResetError(f"slot {slot} hung up")
            first = wire.decode_message(line)
        except ConnectionError:
            writer.close()
            raise
        except TimeoutError as exc:
            writer.close()
            raise MuteWorker(slot, pid) from exc
        except (ValueError, DecodeError) as exc:
            writer.close()
            raise WorkerGone(f"slot {slot} talks nonsense") from exc
        if not isinstance(first, wire.Attached):
            writer.close()
            raise WorkerGone(f"slot {slot} answered {type(first).__name__}")
        if first.dropped:
            log.warning("leg_events_dropped", slot=slot, count=first.dropped)
        link._about = first
        link._reading = asyncio.get_running_loop().create_task(link._read(), name=f"link-{slot}")
        return link

    @property
    def slot(self) -> int:
        """Return the worker's slot number."""
        return self._slot

    @property
    def pid(self) -> int:
        """Return the worker's process id."""
        return self._attached.pid

    @property
    def contact(self) -> str:
        """Return the worker's SIP address, "address:port"."""
        return self._attached.contact

    @property
    def legs_limit(self) -> int:
        """Return how many legs the worker carries."""
        return self._attached.legs_limit

    @property
    def snapshot(self) -> WorkerSnapshot:
        """Return what the worker carried at the moment of the attach."""
        return self._attached.snapshot

    @property
    def is_closed(self) -> bool:
        """Tell whether the connection has ended."""
        return self._closed.is_set()

    async def dial(self, call: CallId, request: DialRequest) -> None:
        """Start a leg."""
        await self._do(wire.Dial(id=self._id(), call=call, request=request))

    async def progress(self, leg: LegId) -> None:
        """Let a caller hear us before the answer."""
        await self._do(wire.Progress(id=self._id(), leg=leg))

    async def answer(self, leg: LegId) -> None:
        """Answer a caller."""
        await self._do(wire.Answer(id=self._id(), leg=leg))

    async def reject(self, leg: LegId, outcome: LegOutcome, *, retry_after_s: int = 0) -> None:
        """Refuse a caller; one who has left is no error."""
        await self._do(
            wire.Reject(id=self._id(), leg=leg, outcome=outcome, retry_after_s=retry_after_s)
        )

    async def hang_up(self, leg: LegId, *, reason: str = "", cause: int | None = None) -> None:
        """End a leg; one that is gone is no error."""
        await self._do(wire.HangUp(id=self._id(), leg=leg, reason=reason, cause=cause))

    async def hold(self, leg: LegId) -> None:
        """Hold a leg."""
        await self._do(wire.Hold(id=self._id(), leg=leg))

    async def unhold(self, leg: LegId) -> None:
        """End our hold."""
        await self._do(wire.Unhold(id=self._id(), leg=leg))

    async def play(self, leg: LegId, prompt: str, path: Path, *, loop: bool) -> None:
        """Play a WAV (PCM, 16 bit) to one leg from now, or as soon as it hears us."""
        await self._do(
            wire.Play(id=self._id(), leg=leg, prompt=prompt, path=_absolute(path), loop=loop)
        )

    async def stop_playing(self, leg: LegId) -> None:
        """Stop the prompt of a leg."""
        await self._do(wire.StopPlaying(id=self._id(), leg=leg))

    async def bridge(self, a: LegId, b: LegId) -> None:
        """Let two legs hear each other."""
        await self._do(wire.Bridge(id=self._id(), a=a, b=b))

    async def unbridge(self, a: LegId, b: LegId) -> None:
        """Undo `bridge`."""
        await self._do(wire.Unbridge(id=self._id(), a=a, b=b))

    async def connect(self, source: LegId, sink: LegId) -> None:
        """Let `sink` hear `source`."""
        await self._do(wire.Connect(id=self._id(), source=source, sink=sink))

    async def disconnect(self, source: LegId, sink: LegId) -> None:
        """Let `sink` no longer hear `source`."""
        await self._do(wire.Disconnect(id=self._id(), source=source, sink=sink))

    async def record(self, call: CallId, directory: Path, *, segment_s: float) -> None:
        """Record the mix of all legs of `call` into `directory`, which is made if missing."""
        await self._do(
            wire.Record(
                id=self._id(), call=call, directory=_absolute(directory), segment_s=segment_s
            )
        )

    async def pause_recording(self, call: CallId) -> None:
        """Record nothing for a while."""
        await self._do(wire.PauseRecording(id=self._id(), call=call))

    async def resume_recording(self, call: CallId) -> None:
        """Go on recording."""
        await self._do(wire.ResumeRecording(id=self._id(), call=call))

    async def stop_recording(self, call: CallId) -> Sequence[Path]:
        """End the recording; returns its closed segment files in order."""
        command = wire.StopRecording(id=self._id(), call=call)
        return (await self._ask(command, wire.Files)).files

    async def send_digits(self, leg: LegId, digits: str) -> None:
        """Send DTMF as RFC 4733 events, or by INFO."""
        await self._do(wire.SendDigits(id=self._id(), leg=leg, digits=digits))

    async def statistics(self) -> Mapping[LegId, StreamStats]:
        """Return the statistics of all living legs."""
        return (await self._ask(wire.GetStatistics(id=self._id()), wire.Statistics)).legs

    async def quit(self) -> None:
        """Ask the worker to hang up what it has, close its files and exit; see `closed`."""
        await self._do(wire.Quit(id=self._id()))

    async def closed(self) -> None:
        """Return when the connection has ended, for whatever reason."""
        await self._closed.wait()

    async def detach(self) -> None:
        """Let go of the worker, which keeps its calls."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        self._close()  # a task that was cancelled before its first step closes nothing

    @property
    def _attached(self) -> wire.Attached:
        assert self._about is not None, "links are made by attach()"
        return self._about

    def _id(self) -> int:
        self._next_id += 1
        return self._next_id

    async def _do(self, command: wire.Command) -> None:
        await self._ask(command, wire.Done)

    async def _ask(self, command: wire.Command, kind: type[_Reply]) -> _Reply:
        if self._closed.is_set():
            raise WorkerGone(f"slot {self._slot}")
        answer: asyncio.Future[wire.Reply] = asyncio.get_running_loop().create_future()
        self._pending[command.id] = answer
        self._writer.write(wire.encode(command))
        try:
            async with asyncio.timeout(self._command_s):
                reply = await answer
        except TimeoutError as exc:
            log.warning("worker_mute", slot=self._slot, command=type(command).__name__)
            self._writer.transport.abort()
            raise WorkerGone(f"slot {self._slot} left a command without an answer") from exc
        finally:
            self._pending.pop(command.id, None)
        if isinstance(reply, wire.Failed):
            raise _ERRORS[reply.kind](reply.detail)
        if not isinstance(reply, kind):
            raise TransientError(f"{type(reply).__name__} in answer to {type(command).__name__}")
        return reply

    async def _read(self) -> None:
        try:
            async for line in self._reader:
                self._take(wire.decode_message(line))
        except (ConnectionError, DecodeError, ValueError) as exc:  # ValueError: line too long
            log.warning("worker_connection_failed", slot=self._slot, detail=str(exc)[:200])
        finally:
            self._close()

    def _close(self) -> None:
        self._closed.set()
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(WorkerGone(f"slot {self._slot}"))
        self._writer.close()

    def _take(self, message: wire.Reply | wire.Event) -> None:
        if isinstance(message, wire.Event):
            self._deliver(message)
            return
        answer = self._pending.get(message.id)
        if answer is not None and not answer.done():
            answer.set_result(message)

    def _deliver(self, message: wire.Event) -> None:
        try:
            self._on_event(wire.event_of(message))
        except Exception:  # a defect there must not end the calls of this worker
            log.exception("leg_event_handler_failed", slot=self._slot, kind=message.kind)
        self._writer.write(wire.encode(wire.Acknowledge(id=0, seq=message.seq)))


def _peer_pid(writer: asyncio.StreamWriter) -> int:
    """Return who listens at the other end: SO_PEERCRED, a struct ucred (unix(7))."""
    peer: socket.socket = writer.get_extra_info("socket")
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid: int = _UCRED.unpack(raw)[0]
    return pid


def _absolute(path: Path) -> Path:
    """Return `path` as the worker must see it: its working directory is another."""
    return path.absolute()

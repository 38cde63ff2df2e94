"""Logs: one cleaned line per event to stderr, ours and the libraries' alike.

The event loop never waits for stderr: a full pipe or a terminal stopped with Ctrl-S would stop the
gateway. Lines go through a bounded queue to one thread; what does not fit is counted and reported.
"""

import logging
import queue
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, TextIO

import msgspec
import structlog

from gateway.config import LogConfig, LogFormat
from protocols.text import clean_text

MAX_TEXT: Final = 1000  # characters of one value: a long SIP header and then some
MAX_TRACE: Final = 8000  # characters of a traceback: about 100 lines
MAX_ITEMS: Final = 50  # members of a list or mapping, and keys of a line
MAX_DEPTH: Final = 3
TRACE_FRAMES: Final = 20  # the innermost ones: there the error is
# 10,000 lines of about 200 bytes are 2 MB: a minute of a busy gateway.
QUEUE_MAX: Final = 10_000
FLUSH_S: Final = 2.0  # how long the end of the process waits for stderr

HIDDEN: Final = "[hidden]"
_SECRET_KEY: Final = re.compile(
    r"passw|secret|token|authoriz|cookie|credential|api_?key", re.IGNORECASE
)
_SECRET_TEXT: Final = re.compile(
    r"(?P<head>\b(?:bearer|basic)\s+|://[^\s:/@]{1,64}:)(?P<secret>[^\s@]{3,})", re.IGNORECASE
)

Event = MutableMapping[str, Any]
Render = Callable[[dict[str, Any]], str]


def stamp(seconds: float) -> str:
    """Return Unix `seconds` as ISO 8601 in UTC with milliseconds and `Z`."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clean_value(value: object, depth: int = 0) -> Any:
    """Return `value` as JSON can hold it: cleaned, cut, secrets hidden; never raises."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else f"{value:#x}"[:MAX_TEXT]
    if isinstance(value, str):
        return _clean_string(value)
    if depth < MAX_DEPTH and isinstance(value, Mapping):
        pairs = islice(value.items(), MAX_ITEMS)
        return dict(_clean_pair(key, item, depth + 1) for key, item in pairs)
    if depth < MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [clean_value(item, depth + 1) for item in islice(value, MAX_ITEMS)]
    return _clean_string(_text_of(value))


def _clean_pair(key: object, value: object, depth: int) -> tuple[str, Any]:
    name = _clean_string(key if isinstance(key, str) else _text_of(key))
    return name, HIDDEN if _SECRET_KEY.search(name) else clean_value(value, depth)


def _text_of(value: object) -> str:
    try:
        return str(value)
    except Exception as exc:  # noqa: BLE001 (a broken __str__ must not break the log line)
        return f"<{type(value).__name__}: {type(exc).__name__} in __str__>"


def _clean_string(text: str, limit: int = MAX_TEXT) -> str:
    # isprintable() is false for every category that clean_text removes and is a hundred times
    # faster; nearly every value passes it.
    kept = text[:limit] if text[:limit].isprintable() else clean_text(text, limit=limit)
    return _SECRET_TEXT.sub(lambda match: match["head"] + HIDDEN, kept)


def _trace_of(info: object) -> str:
    """Return the traceback that `exc_info` stands for, line by line cleaned, its end kept."""
    if info is True or info is None:
        info = sys.exception()
    if isinstance(info, tuple):
        info = info[1]
    if not isinstance(info, BaseException):
        return ""
    text = "".join(traceback.format_exception(info, limit=-TRACE_FRAMES))[-MAX_TRACE:]
    # Indentation is part of a traceback's meaning and clean_text would strip it.
    lines = (
        line[: len(line) - len(line.lstrip(" "))] + _clean_string(line.strip())
        for line in text.splitlines()
    )
    return "\n".join(lines)


def to_json(event: dict[str, Any]) -> str:
    """Return one JSON object on one line."""
    return msgspec.json.encode(event).decode()


def to_console(*, colors: bool) -> Render:
    """Return a renderer for people."""
    console = structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=24
    )
    return lambda event: str(console(None, "", event))


class Line:
    """Turns an event into a line; whatever happens, a line comes out and nothing is raised."""

    def __init__(self, render: Render, now: Callable[[], datetime] | None = None) -> None:
        self._render = render
        self._now = now or (lambda: datetime.now(UTC))

    def __call__(self, _logger: object, level: str, event: Event) -> str:
        """Serve as the last processor of structlog."""
        try:
            return self._render(self._fields(level, event))
        except Exception as exc:  # noqa: BLE001 (logging must never stop what it reports on)
            failed = {"level": "error", "event": "log_line_failed", "error": type(exc).__name__}
            return to_json({"timestamp": stamp(self._now().timestamp()), **failed})

    def _fields(self, level: str, event: Event) -> dict[str, Any]:
        info = event.pop("exc_info", None)
        fields: dict[str, Any] = {
            "timestamp": stamp(self._now().timestamp()),
            "level": "error" if level == "exception" else level,
            "event": clean_value(event.pop("event", "")),
        }
        for key, value in islice(event.items(), MAX_ITEMS):
            name, cleaned = _clean_pair(key, value, 0)
            fields.setdefault(name, cleaned)
        if info and (trace := _trace_of(info)):
            fields["exception"] = trace
        return fields


class LineWriter:
    """Writes lines to a stream in a thread of its own; a full queue drops and counts."""

    def __init__(self, stream: TextIO, queue_max: int = QUEUE_MAX) -> None:
        self._stream = stream
        self._queue: queue.Queue[str | None] = queue.Queue(queue_max)
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue a line; never blocks."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def close(self, within: float = FLUSH_S) -> None:
        """Write what is queued and end, or give up after `within` seconds."""
        try:
            self._queue.put(None, timeout=within)
        except queue.Full:
            return  # nobody reads stderr any more; the thread is a daemon and ends with us
        self._thread.join(within)

    def _run(self) -> None:
        reported = 0
        while (line := self._queue.get()) is not None:
            if self.dropped != reported:
                lost, reported = self.dropped - reported, self.dropped
                self._put(to_json({"level": "error", "event": "log_lines_dropped", "lines": lost}))
            self._put(line)

    def _put(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # stderr was closed: there is nowhere left to say so
            self.dropped += 1


class _Logger:
    """What structlog calls with the finished line."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    def msg(self, line: str) -> None:
        """Write a line, whatever its level: the level is in it."""
        self._writer.write(line)

    debug = info = warning = error = critical = exception = log = msg


class _Bridge(logging.Handler):
    """Takes the records of libraries into the same lines."""

    def __init__(self, line: Line, writer: LineWriter) -> None:
        super().__init__()
        self._line = line
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a record whose arguments do not fit its text is shown raw."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 (a library's defect must not break ours)
            text = _text_of(record.msg)
        event: Event = {"event": text, "logger": record.name, "exc_info": record.exc_info}
        event.update(structlog.contextvars.get_contextvars())
        self._writer.write(self._line(None, record.levelname.lower(), event))


@contextmanager
def logging_to(config: LogConfig, stream: TextIO | None = None) -> Iterator[LineWriter]:
    """Send every log line to `stream` (default: stderr) until the end of the block.

    The previous set-up comes back afterwards, so that a test leaves nothing behind.
    """
    target = sys.stderr if stream is None else stream
    json_lines = config.format is LogFormat.JSON
    line = Line(to_json if json_lines else to_console(colors=target.isatty()))
    writer = LineWriter(target)
    level = logging.getLevelNamesMapping()[config.level.upper()]
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, line],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Logger(writer),
        cache_logger_on_first_use=False,  # modules keep their loggers longer than this block lasts
    )
    restore = _bridge_stdlib(_Bridge(line, writer), level)
    try:
        yield writer
    finally:
        restore()
        structlog.configure(**before)
        writer.close()


def _bridge_stdlib(bridge: logging.Handler, level: int) -> Callable[[], None]:
    root = logging.getLogger()
    handlers, before = root.handlers[:], root.level
    root.handlers[:] = [bridge]
    root.setLevel(level)
    logging.captureWarnings(capture=True)

    def restore() -> None:
        logging.captureWarnings(capture=False)
        root.handlers[:] = handlers
        root.setLevel(before)

    return restore

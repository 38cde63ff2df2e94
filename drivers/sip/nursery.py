"""The nursery: imports PJSUA once and forks a worker per request.

A fork takes 30 ms and 9 MB where a fresh interpreter takes 300 ms and 35 MB. The nursery itself
never creates an endpoint and never starts a thread: neither would survive the fork.

Speaks JSON lines: the configuration, then requests on stdin; results on stdout. EOF on stdin ends
it; its workers live on.
"""

import gc
import os
import selectors
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import structlog

from drivers.sip import worker
from drivers.sip.config import SipConfig

log = structlog.get_logger()

MAX_LOG = 1_048_576  # bytes; a bigger log is begun anew at the worker's start
REAP_EVERY_S = 1.0
EXIT_START_FAILED = 69  # EX_UNAVAILABLE: ports or socket taken
_READY = b"ok"


class Spawn(msgspec.Struct, frozen=True, kw_only=True):
    """Please start the worker of `slot`."""

    slot: int


class Spawned(msgspec.Struct, frozen=True, kw_only=True):
    """It listens, or `error` says why not."""

    slot: int
    pid: int
    error: str = ""


def encode_config(config: SipConfig) -> bytes:
    """Return the first line that a nursery reads."""
    return msgspec.json.encode(config, enc_hook=str) + b"\n"


def decode_config(line: bytes) -> SipConfig:
    """Return what `encode_config` wrote; raises msgspec.DecodeError."""
    return msgspec.json.decode(line, type=SipConfig, dec_hook=lambda kind, value: kind(value))


@dataclass(frozen=True, slots=True)
class _Birth:
    slot: int
    pid: int


class Nursery:
    """Reads requests from `source`, writes results to `sink` (file descriptors)."""

    def __init__(self, config: SipConfig, source: int, sink: int) -> None:
        self._config = config
        self._source = source
        self._sink = sink
        self._pending = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(source, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve until the daemon closes its end."""
        while True:
            for key, _ in self._selector.select(REAP_EVERY_S):
                if isinstance(key.data, _Birth):
                    self._report(key.fd, key.data)
                elif not self._read_requests():
                    return
            _reap()

    def _read_requests(self) -> bool:
        chunk = os.read(self._source, 4096)
        self._pending += chunk
        *lines, self._pending = self._pending.split(b"\n")
        for line in lines:
            self._fork(msgspec.json.decode(line, type=Spawn).slot)
        return bool(chunk)

    def _fork(self, slot: int) -> None:
        born, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._become_worker(slot, tell)
        os.close(tell)
        self._selector.register(born, selectors.EVENT_READ, _Birth(slot, pid))

    def _report(self, born: int, birth: _Birth) -> None:
        said = os.read(born, 1024)
        self._selector.unregister(born)
        os.close(born)
        error = "" if said == _READY else (said.decode("utf-8", "replace") or "died at the start")
        result = Spawned(slot=birth.slot, pid=birth.pid, error=error)
        os.write(self._sink, msgspec.json.encode(result) + b"\n")

    def _become_worker(self, slot: int, tell: int) -> NoReturn:
        os.setsid()
        inherited = [key.fd for key in self._selector.get_map().values() if key.fd > 2]
        self._selector.close()
        # The sink too: the daemon takes its end for the nursery's, whatever its workers do.
        for fd in (*inherited, self._sink):
            os.close(fd)
        _redirect(self._config.log_path(slot))

        def ready() -> None:
            os.write(tell, _READY)
            os.close(tell)

        try:
            worker.main(self._config, slot, ready)
        except OSError as exc:
            log.exception("worker_start_failed", slot=slot, detail=str(exc))
            os.write(tell, str(exc).encode()[:1000])
        except Exception:  # the child must never come back into the nursery's loop
            log.exception("worker_failed", slot=slot)
        os._exit(EXIT_START_FAILED)


def _redirect(path: Path) -> None:
    mode = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    if path.exists() and path.stat().st_size > MAX_LOG:
        mode |= os.O_TRUNC
    out = os.open(path, mode, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(nothing)
    os.close(out)


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        log.info("worker_ended", pid=pid, code=os.waitstatus_to_exitcode(status))


def _log_lines() -> None:
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(processors=processors, logger_factory=structlog.WriteLoggerFactory())


def main() -> None:
    """Run on stdin and stdout; log to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(0, "rb", buffering=0, closefd=False) as source:  # unbuffered: requests stay behind
        config = decode_config(source.readline())
    sink = os.dup(1)
    os.dup2(2, 1)  # stdout belongs to the protocol; what libraries print goes to the log
    _log_lines()
    gc.collect()
    gc.freeze()  # so that no collection in a worker touches, and thereby copies, shared pages
    Nursery(config, 0, sink).run()


if __name__ == "__main__":
    main()

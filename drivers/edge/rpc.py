"""Questions to Kamailio: JSON-RPC 2.0 in datagrams on its Unix socket (module jsonrpcs).

A question and its answer are one datagram each, so an answer is at most what a Unix socket takes
in one piece (net.core.wmem_default, about 200 kB). Whatever grows with the number of
registrations or calls is read from Kamailio's database instead.
"""

import asyncio
import itertools
import os
import socket
from pathlib import Path
from typing import Any

import msgspec
import structlog

from drivers.api.edge import EdgeUnavailable

log = structlog.get_logger()

RECEIVE_BYTES = 1_048_576
_names = itertools.count()


class RpcRefused(Exception):
    """Kamailio answered with an error."""

    def __init__(self, method: str, code: int, message: str) -> None:
        super().__init__(f"{method}: {code} {message}")
        self.code = code


class _Answer(msgspec.Struct):
    id: int
    result: Any = None
    error: dict[str, Any] | None = None


class KamailioRpc:
    """One socket of ours, opened on use and again after an error; many questions at a time."""

    def __init__(self, path: Path, *, deadline_s: float) -> None:
        """Take the path of Kamailio's socket and how long an answer may take."""
        self._path = path
        self._deadline_s = deadline_s
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[_Answer]] = {}
        self._transport: asyncio.DatagramTransport | None = None
        self._mine: Path | None = None
        self._opening = asyncio.Lock()

    async def ask(self, method: str, *params: str | int) -> Any:
        """Return the result of `method`; raises EdgeUnavailable, or RpcRefused for its errors."""
        number = next(self._ids)
        body = {"jsonrpc": "2.0", "method": method, "params": list(params), "id": number}
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(self._deadline_s):
                transport = await self._open()
                transport.sendto(msgspec.json.encode(body))
                told = await answer
        except (OSError, TimeoutError) as exc:
            self.close()
            raise EdgeUnavailable(f"{method}: {exc!r}") from exc
        finally:
            self._waiting.pop(number, None)
        if told.error is not None:
            code, message = told.error.get("code", 0), told.error.get("message", "")
            raise RpcRefused(method, int(code), str(message))
        return told.result

    def close(self) -> None:
        """Close our socket; the next question opens a new one."""
        if self._transport is not None:
            self._transport.close()
        self._transport = None
        if self._mine is not None:
            self._mine.unlink(missing_ok=True)
            self._mine = None

    async def _open(self) -> asyncio.DatagramTransport:
        async with self._opening:
            if self._transport is not None and not self._transport.is_closing():
                return self._transport
            self.close()
            sock = self._connected()
            loop = asyncio.get_running_loop()
            self._transport, _ = await loop.create_datagram_endpoint(
                lambda: _Protocol(self), sock=sock
            )
            return self._transport

    def _connected(self) -> socket.socket:
        # Kamailio answers to the address of the sender, so ours must have one.
        self._mine = self._path.with_name(f"rpc-{os.getpid()}-{next(_names)}.sock")
        self._mine.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            sock.bind(str(self._mine))
            sock.connect(str(self._path))
        except OSError:
            sock.close()
            raise
        return sock

    def on_answer(self, data: bytes) -> None:
        """Hand an answer to whoever waits for it; one that nobody waits for came too late."""
        try:
            answer = msgspec.json.decode(data, type=_Answer)
        except msgspec.MsgspecError as exc:
            log.warning("edge_rpc_garbage", detail=str(exc), bytes=len(data))
            return
        waiting = self._waiting.get(answer.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def on_error(self, error: OSError) -> None:
        """Fail all questions: Kamailio's socket is gone."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(error)


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, rpc: KamailioRpc) -> None:
        self._rpc = rpc

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002 asyncio's
        self._rpc.on_answer(data)

    def error_received(self, exc: Exception) -> None:
        self._rpc.on_error(exc if isinstance(exc, OSError) else OSError(str(exc)))

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self.error_received(exc)

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.api.edge import EdgeUnavailable
from drivers.edge.rpc import KamailioRpc, RpcRefused


class Server(asyncio.DatagramProtocol):
    """Stands where Kamailio's socket is; answers what the test says."""

    def __init__(self, reply: Callable[[dict[str, Any]], list[bytes]]) -> None:
        self._reply = reply
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override] # it is one
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        assert self._transport is not None
        for answer in self._reply(json.loads(data)):
            self._transport.sendto(answer, addr)


@asynccontextmanager
async def served(
    path: Path, reply: Callable[[dict[str, Any]], list[bytes]]
) -> AsyncIterator[KamailioRpc]:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.settimeout(0)
    sock.bind(str(path))
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Server(reply), sock=sock)
    rpc = KamailioRpc(path, deadline_s=0.3)
    try:
        yield rpc
    finally:
        rpc.close()
        transport.close()


def result(asked: dict[str, Any]) -> bytes:
    told = {"jsonrpc": "2.0", "id": asked["id"], "result": [asked["method"], asked["params"]]}
    return json.dumps(told).encode()


async def test_many_questions_at_once_get_their_own_answers(tmp_path: Path) -> None:
    held: list[bytes] = []

    def backwards(asked: dict[str, Any]) -> list[bytes]:
        held.append(result(asked))
        return held[::-1] if len(held) == 20 else []

    async with served(tmp_path / "rpc.sock", backwards) as rpc:
        answers = await asyncio.gather(*(rpc.ask("m", n) for n in range(20)))
    assert answers == [["m", [n]] for n in range(20)]
    left = await asyncio.to_thread(lambda: [path.name for path in tmp_path.iterdir()])
    assert left == ["rpc.sock"]


async def test_garbage_and_late_answers_are_survived(tmp_path: Path) -> None:
    def noisy(asked: dict[str, Any]) -> list[bytes]:
        stray = json.dumps({"id": 999, "result": 1}).encode()
        return [b"", b"\xff\x00", b"[1]", b'{"id": "x"}', stray, result(asked)]

    async with served(tmp_path / "rpc.sock", noisy) as rpc:
        assert await rpc.ask("one", "a") == ["one", ["a"]]
        assert await rpc.ask("two") == ["two", []]


async def test_an_error_is_raised_with_its_code(tmp_path: Path) -> None:
    def refuse(asked: dict[str, Any]) -> list[bytes]:
        error = {"code": 404, "message": "AOR not found"}
        return [json.dumps({"id": asked["id"], "error": error}).encode()]

    async with served(tmp_path / "rpc.sock", refuse) as rpc:
        with pytest.raises(RpcRefused, match="AOR not found") as caught:
            await rpc.ask("ul.rm", "location", "x")
    assert caught.value.code == 404


async def test_silence_ends_at_the_deadline_and_absence_at_once(tmp_path: Path) -> None:
    async with served(tmp_path / "rpc.sock", lambda _: []) as rpc:
        with pytest.raises(EdgeUnavailable, match=r"core\.uptime"):
            await rpc.ask("core.uptime")
    absent = KamailioRpc(tmp_path / "no.sock", deadline_s=5)
    async with asyncio.timeout(1):
        with pytest.raises(EdgeUnavailable):
            await absent.ask("core.uptime")


async def test_a_server_that_comes_back_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "rpc.sock"
    rpc = KamailioRpc(path, deadline_s=0.3)
    for _ in range(2):
        async with served(path, lambda asked: [result(asked)]):
            answered = False
            while not answered:
                try:
                    answered = await rpc.ask("m") == ["m", []]
                except EdgeUnavailable:
                    continue
        path.unlink()
    rpc.close()

"""What the contract suite does not reach: limits of connections and lines, and the settings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers._template.driver import TemplateDriver, create
from drivers._template.mapping import decode
from drivers.api.events import Refusal
from protocols.errors import DecodeError
from tests.contract.context import FakeContext
from tests.waiting import free_port, wait_until


class Running:
    def __init__(self, **settings: object) -> None:
        self.port = free_port()
        self.ctx = FakeContext()
        self.driver: TemplateDriver = create({"port": self.port, **settings})
        self.task = asyncio.create_task(self.driver.run(self.ctx))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await wait_until(lambda: self.ctx.all_up)
        return await asyncio.open_connection("127.0.0.1", self.port)


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    running = Running(max_connections=2, max_refusals=3, idle_s=0.3)
    yield running
    running.task.cancel()
    await asyncio.wait({running.task})


async def ended(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(3):
        assert await reader.read() == b""


async def test_one_connection_too_many_is_closed(running: Running) -> None:
    peers = [await running.connect() for _ in range(3)]
    await ended(peers[2][0])
    assert [reason for _, reason, _ in running.ctx.refusals] == [Refusal.FLOOD]
    for _, writer in peers:
        writer.close()
    await wait_until(lambda: running.driver._connections == 0)
    reader, writer = await running.connect()
    writer.write(b'{"type":"hello","terminal":"T"}\n{"type":"press","id":"e","key":"sos"}\n')
    async with asyncio.timeout(3):
        assert await reader.readline() == b'{"type":"received","id":"e"}\n'
    writer.close()


async def test_a_silent_peer_is_gone(running: Running) -> None:
    reader, writer = await running.connect()
    await ended(reader)
    writer.close()


async def test_a_babbling_peer_is_gone(running: Running) -> None:
    reader, writer = await running.connect()
    writer.write(b"rubbish\n" * 10)
    await ended(reader)
    assert len(running.ctx.refusals) == 3
    writer.close()


async def test_a_line_that_is_cut_off(running: Running) -> None:
    _, writer = await running.connect()
    writer.write(b'{"type":"hel')
    writer.write_eof()
    await wait_until(lambda: running.ctx.refusals)
    assert running.ctx.refusals == [(None, Refusal.NOT_JSON, "cut off")]
    writer.close()


async def test_a_press_before_the_hello_is_refused_and_a_beat_is_taken(running: Running) -> None:
    _, writer = await running.connect()
    writer.write(b'{"type":"press","id":"e","key":"sos"}\n')
    writer.write(b'{"type":"hello","terminal":"T"}\n{"type":"beat","battery":50}\n')
    await wait_until(lambda: running.ctx.batches)
    assert running.ctx.batches[0][0].battery == 50
    assert running.ctx.refusals == [(None, Refusal.WRONG_SHAPE, "no hello yet")]
    writer.close()


def test_it_listens_on_loopback_only() -> None:
    with pytest.raises(ValidationError, match="loopback"):
        create({"host": "192.0.2.1"})


@given(st.binary(max_size=300))
def test_decode_raises_only_what_it_documents(line: bytes) -> None:
    with suppress(DecodeError):
        decode(line)

"""`python -m sim.pendant` as a newcomer runs it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from protocols.mqtt_payload.topics import Down
from protocols.mqtt_payload.v1 import Ack, decode_state
from sim.broker import Broker
from sim.child import Child
from sim.pendant_cli import PASSWORD_VARIABLE, parse
from tests.sim.test_pendant import PASSWORD, TERMINAL, desk_of
from tests.waiting import free_port, wait_until

pytestmark = pytest.mark.e2e


def pendant(tmp_path: Path, port: int, *words: str, password: str = PASSWORD) -> Child:
    argv = (sys.executable, "-m", "sim.pendant", "--port", str(port), *words)
    return Child("pendant", argv, log=tmp_path / "pendant.log", env={PASSWORD_VARIABLE: password})


async def test_it_presses_tells_the_answer_and_says_farewell(tmp_path: Path) -> None:
    async with (
        Broker(tmp_path / "b", port=free_port(), users={TERMINAL: PASSWORD}) as broker,
        desk_of(broker) as desk,
    ):
        process = pendant(tmp_path, broker.port, "--press", "1")
        await process.start()
        try:
            await wait_until(desk.presses, deadline=15)
            await desk.say(Down.ACK, Ack(id=desk.presses()[0], state="committed", incident="I-7"))
            await wait_until(lambda: "ack committed" in process.tail(), what="the answer")
            assert "incident=I-7" in process.tail()
        finally:
            assert await process.stop(signal.SIGINT)
        await wait_until(lambda: len(desk.said("state")) == 2)
        assert not decode_state(desk.said("state")[1]).online


async def test_enter_presses(tmp_path: Path) -> None:
    async with (
        Broker(tmp_path / "b", port=free_port(), users={TERMINAL: PASSWORD}) as broker,
        desk_of(broker) as desk,
    ):
        process = pendant(tmp_path, broker.port)
        pipes = await process.start(talk=True)
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        try:
            async with asyncio.timeout(15):
                while b"Enter presses" not in await pipes.stdout.readline():
                    pass
            pipes.stdin.write(b"\n")
            await wait_until(lambda: len(desk.presses()) == 1)
        finally:
            pipes.stdin.close()
            await process.stop()


async def test_a_power_cut_is_told_by_the_will(tmp_path: Path) -> None:
    async with (
        Broker(tmp_path / "b", port=free_port(), users={TERMINAL: PASSWORD}) as broker,
        desk_of(broker) as desk,
    ):
        process = pendant(tmp_path, broker.port)
        await process.start()
        await wait_until(lambda: desk.said("state"), deadline=15)
        process.kill(signal.SIGKILL)
        await process.wait(5)
        await wait_until(lambda: len(desk.said("state")) == 2)
        birth, will = [decode_state(payload) for payload in desk.said("state")]
        assert (birth.online, will.online) == (True, False)
        assert birth.boot == will.boot


async def test_a_wrong_password_ends_it_with_a_word(tmp_path: Path) -> None:
    async with Broker(tmp_path / "b", port=free_port(), users={TERMINAL: PASSWORD}) as broker:
        process = pendant(tmp_path, broker.port, "--wait", "1", password="wrong")
        await process.start()
        assert await process.wait(20) == 1
        assert "Not authorized" in process.tail()


def test_the_password_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, PASSWORD_VARIABLE, "from there")
    assert parse([]).password == "from there"
    assert parse(["--password", "given"]).password == "given"

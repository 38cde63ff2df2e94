"""`make run` tells the story of a press and ends when asked."""

import asyncio
import signal
import sys
import time
from pathlib import Path

import pytest

from sim.child import Child
from sim.ports import free_ports
from sim.survivors import marked
from tests.waiting import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MARK = "TEST_RUN"


def run(tmp_path: Path, *words: str) -> Child:
    ports = free_ports(phones=2, workers=4)
    options = {
        "--mqtt-port": ports.mqtt,
        "--web-port": ports.web,
        "--sip-port-base": ports.sip_base,
        "--rtp-port-base": ports.rtp_base,
        "--data-dir": tmp_path / "data",
    }
    words = (*words, *(str(word) for pair in options.items() for word in pair))
    argv = (sys.executable, "-m", "sim.run", *words)
    return Child("run", argv, log=tmp_path / "log", env={MARK: tmp_path.name})


async def read_until(out: asyncio.StreamReader, word: str, *, deadline: float) -> str:
    said = ""
    try:
        async with asyncio.timeout(deadline):
            while word not in said:
                line = await out.readline()
                assert line, f"it ended; it said:\n{said}"
                said += line.decode()
    except TimeoutError:
        raise AssertionError(f"no {word!r} within {deadline} s; it said:\n{said}") from None
    return said


async def test_once_tells_a_whole_story_and_ends_by_itself(tmp_path: Path) -> None:
    process = run(tmp_path, "--once", "--talk", "1")
    pipes = await process.start(talk=True)
    assert pipes.stdout is not None
    try:
        async with asyncio.timeout(60):
            said = (await pipes.stdout.read()).decode()
        assert await process.wait(10) == 0
    finally:
        await process.stop()
    # The terminal and the phones are told side by side: only what causes what has an order.
    told = ["按下 sos 键", "平台已受理", "坐席已接听"]
    rung = ["按下 sos 键", "INVITE", "双方通话", "呼叫结束"]
    for steps in (told, rung):
        places = [said.find(step) for step in steps]
        assert -1 not in places, said
        assert places == sorted(places), said
    assert "mosquitto_pub -h 127.0.0.1" in said
    assert marked(f"{MARK}={tmp_path.name}") == []


async def test_ctrl_c_ends_everything_within_three_seconds(tmp_path: Path) -> None:
    process = run(tmp_path)
    pipes = await process.start(talk=True)
    assert pipes.stdout is not None
    try:
        await read_until(pipes.stdout, "双方通话", deadline=60)
        begun = time.monotonic()
        process.kill(signal.SIGINT)
        await process.wait(10)
        seconds = time.monotonic() - begun
    finally:
        await process.stop()
    assert marked(f"{MARK}={tmp_path.name}") == []
    assert seconds < 3.0


async def test_ctrl_c_while_it_starts_ends_everything(tmp_path: Path) -> None:
    process = run(tmp_path)
    pipes = await process.start(talk=True)
    assert pipes.stdout is not None
    try:
        await read_until(pipes.stdout, "MQTT broker", deadline=60)
        process.kill(signal.SIGINT)
        await process.wait(10)
    finally:
        await process.stop()
    assert marked(f"{MARK}={tmp_path.name}") == []


async def test_with_an_edge_it_says_how_phones_register(tmp_path: Path) -> None:
    process = run(tmp_path, "--presses", "0", "--edge", str(free_port()))
    pipes = await process.start(talk=True)
    assert pipes.stdout is not None
    try:
        said = await read_until(pipes.stdout, "dials sip:sos@onekey.local", deadline=60)
    finally:
        await process.stop()
    assert said.count("auth_pass=") == 2
    assert marked(f"{MARK}={tmp_path.name}") == []

"""The nursery and what it forks."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from drivers.api.errors import TransientError
from drivers.api.ids import LegId
from drivers.sip.config import SipConfig
from drivers.sip.nursery import MAX_LOG, decode_config, encode_config
from sim.phone import NEVER
from tests.drivers.sip.rig import CALL, alive, request, rig
from tests.waiting import wait_until

A = LegId("call.1")


def test_the_configuration_reaches_the_nursery() -> None:
    config = SipConfig(
        run_dir=Path("/run/x"), codecs=("PCMU",), outbound_proxy="sip:e;lr", orphan_s=1
    )
    assert decode_config(encode_config(config)) == config


def test_addresses_and_ports_follow_from_the_slot() -> None:
    config = SipConfig(run_dir=Path("/r"), public_address="192.0.2.1", sip_port_base=6000)
    assert config.identity == "sip:gateway@192.0.2.1"
    assert config.sip_port(3) == 6003
    assert config.rtp_port(2) == config.rtp_port_base + 64
    assert config.socket_path(4) == Path("/r/worker-4.sock")


async def test_a_worker_outlives_nursery_and_factory(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        link = await world.worker()
        assert os.getsid(link.pid) == link.pid
        nursery = world.factory._nursery
        assert nursery is not None
        nursery.kill()
        await nursery.wait()
        assert alive(link.pid)
        second = await world.worker(1)  # the factory starts another nursery
        assert second.pid != link.pid
        assert list(world.factory.living_slots()) == [0, 1]
        await world.factory.close()
        await asyncio.wait_for(link.closed(), 1)
        assert alive(link.pid)
        assert alive(second.pid)


async def test_the_nursery_reaps(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        link = await world.worker()
        os.kill(link.pid, signal.SIGKILL)
        await wait_until(lambda: not Path(f"/proc/{link.pid}").exists(), deadline=3)


async def test_a_taken_port_is_an_error_that_says_so(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
            thief.bind(("127.0.0.1", world.config.sip_port(0)))
            with pytest.raises(TransientError, match="in use"):
                await world.factory.spawn(0, world.events.append)
        assert list(world.factory.living_slots()) == []
        await world.worker()


async def test_a_slot_is_not_taken_twice(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        link = await world.worker()
        with pytest.raises(TransientError):
            await world.factory.spawn(0, world.events.append)
        assert dict(await link.statistics()) == {}


async def test_many_start_together(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        links = await asyncio.gather(world.worker(0), world.worker(1))
        assert len({link.pid for link in links}) == 2
        got = await asyncio.gather(world.worker(5), world.worker(5), return_exceptions=True)
        assert sorted(type(one).__name__ for one in got) == ["SipWorkerLink", "TransientError"]


async def test_a_failing_event_handler_does_not_end_the_link(tmp_path: Path) -> None:
    def explode(_: object) -> None:
        raise ZeroDivisionError

    async with rig(tmp_path) as world:
        phone = await world.phone("a", NEVER)
        await world.worker()
        link = await world.factory.adopt(0, explode)
        assert link is not None
        await link.dial(CALL, request(A, phone.uri))
        await phone.wait("ringing", deadline=5)
        assert A in await link.statistics()


async def test_a_big_log_is_begun_anew(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        log = world.config.log_path(0)
        log.write_bytes(b"x" * (MAX_LOG + 1))
        await world.worker()
        assert log.stat().st_size < MAX_LOG
        assert b"worker_ready" in log.read_bytes()


async def test_a_stale_socket_is_removed(tmp_path: Path) -> None:
    async with rig(tmp_path) as world:
        stale = world.config.socket_path(7)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(stale))
        assert list(world.factory.living_slots()) == [7]
        assert await world.factory.adopt(7, world.events.append) is None
        assert not stale.exists()
        assert await world.factory.adopt(8, world.events.append) is None

"""The wrapper round a real phone; that the phone itself works is tests/sim/test_sip_ua.py's."""

from pathlib import Path

import pytest

from sim.child import ChildError
from sim.phone import NEVER, Behaviour, Phone, PhoneEvent
from sim.ports import free_ports
from tests.waiting import wait_until

pytestmark = pytest.mark.e2e


def phone(tmp_path: Path, behaviour: Behaviour = NEVER) -> Phone:
    ports = free_ports(phones=1, workers=0)
    return Phone(
        "agent-1",
        port=ports.phone_sip(0),
        rtp_base=ports.phone_rtp(0),
        directory=tmp_path,
        behaviour=behaviour,
    )


async def test_it_starts_obeys_and_leaves_no_process(tmp_path: Path) -> None:
    heard: list[PhoneEvent] = []
    async with phone(tmp_path) as one:
        assert one.uri.startswith("sip:agent-1@127.0.0.1:")
        assert not one.ringing
        one.listen(heard.append)
        one.answer()  # nothing rings: refused, not obeyed
        refused = await one.wait("refused", deadline=5)
        assert refused.data == {"command": "answer"}
        assert heard == [refused]
    assert not one.child.running
    assert one.child.returncode == 0


async def test_waiting_in_vain_says_what_was_seen(tmp_path: Path) -> None:
    async with phone(tmp_path) as one:
        with pytest.raises(ChildError, match=r"no 'invite', it did not say so.*seen \['ready'\]"):
            await one.wait("invite", deadline=0.05)


async def test_a_dead_phone_is_told_at_once(tmp_path: Path) -> None:
    async with phone(tmp_path) as one:
        one.child.kill()
        with pytest.raises(ChildError, match="it has ended"):
            await one.wait("invite", deadline=30)
        await wait_until(lambda: not one.child.running)
        with pytest.raises(ChildError, match="does not run"):
            one.answer()


async def test_a_taken_port_shows_in_the_error(tmp_path: Path) -> None:
    async with phone(tmp_path) as one:
        port = int(one.uri.rsplit(":", 1)[1])
        rival = Phone("rival", port=port, rtp_base=port + 100, directory=tmp_path)
        with pytest.raises(ChildError, match=r"rival.*no 'ready', it has ended(.|\n)*in use"):
            await rival.start()

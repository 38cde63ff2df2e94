"""The driver's promises (tests/contract), for a driver whose network is the edge's question."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import registry
from drivers.api.commands import ShowText
from drivers.api.errors import TransientError, Unsupported
from drivers.api.events import AlarmRaised, KeyPressed, PressCancelled, Refusal
from drivers.api.ids import TerminalId
from drivers.scaip.driver import LINK, ScaipDriver, create
from drivers.scaip.mapping import ScaipAnswer
from protocols.scaip.messages import (
    Answer,
    Media,
    Request,
    Root,
    Status,
    decode_answer,
    encode_request,
)
from tests.contract.context import FakeContext
from tests.waiting import wait_until

TYPE = "application/scaip+xml"


class Device:
    """A social alarm and the gateway it speaks to."""

    def __init__(self, driver: ScaipDriver) -> None:
        self.driver = driver
        self.ctx = FakeContext()
        self._run: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._run = asyncio.create_task(self.driver.run(self.ctx))
        await wait_until(lambda: self.ctx.all_up)

    async def stop(self) -> None:
        assert self._run is not None
        self._run.cancel()
        with suppress(asyncio.CancelledError):
            await self._run

    async def say(self, user: str = "t-1", **fields: str) -> Answer:
        return said(await self.send(user, **fields))

    async def send(self, user: str = "t-1", **fields: str) -> ScaipAnswer:
        chosen = {"ref": "r1", "cid": "123", "dty": "0003", "stc": "0010", **fields}
        request = Request(root=Root(chosen.pop("root", "scaip")), **chosen)
        return await self.driver.message(user, TYPE, encode_request(request).decode())


def said(answer: ScaipAnswer) -> Answer:
    body = answer.follow_up.body if answer.follow_up else answer.body
    return decode_answer(body.encode())


@pytest.fixture
async def device() -> AsyncIterator[Device]:
    device = Device(create({"submit_timeout_s": 0.2, "max_in_flight": 3}))
    await device.start()
    yield device
    await device.stop()


def test_it_is_registered() -> None:
    assert isinstance(registry.load("scaip")({}), ScaipDriver)


async def test_a_press_is_committed_and_answered_with_the_voice_route(device: Device) -> None:
    before = time.time()
    answer = await device.say()
    assert (answer.ref, answer.status, answer.media) == ("r1", Status.OK, Media.DUPLEX)
    (event,) = device.ctx.committed
    assert isinstance(event, KeyPressed)
    assert (event.terminal, event.key, event.calling) == ("t-1", "sos", True)
    assert before <= event.received_at <= time.time()


@pytest.mark.parametrize("root", ["mrq", "scaip"])
async def test_nothing_is_answered_before_the_commit(device: Device, root: str) -> None:
    device.ctx.gate.clear()
    answering = asyncio.create_task(device.send(root=root))
    await wait_until(lambda: device.ctx.offered)
    assert not answering.done()
    device.ctx.gate.set()
    answer = await answering
    assert answer.code == (202 if root == "mrq" else 200)
    assert said(answer).status is Status.OK


async def test_without_a_store_it_is_not_treated_and_the_repeat_is_the_same_event(
    device: Device,
) -> None:
    device.ctx.store_away = True
    assert (await device.say()).status is Status.NOT_TREATED
    device.ctx.store_away = False
    assert (await device.say()).status is Status.OK
    assert (await device.say()).status is Status.OK  # our answer was lost: it repeats
    assert len(set(device.ctx.commits())) == 1
    assert len(device.ctx.offered) == 3


async def test_a_slow_store_is_no_store(device: Device) -> None:
    device.ctx.gate.clear()
    assert (await device.say()).status is Status.NOT_TREATED


async def test_a_defect_of_ours_is_no_commit(device: Device) -> None:
    await device.say()
    device.ctx.defects.add(device.ctx.offered[0].event_id)
    assert (await device.say()).status is Status.NOT_TREATED
    assert device.ctx.refusals[0][1] is Refusal.INTERNAL


async def test_too_many_at_once_are_told_so(device: Device) -> None:
    device.ctx.gate.clear()
    waiting = [asyncio.create_task(device.say(f"t-{n}")) for n in range(3)]
    await wait_until(lambda: len(device.ctx.offered) == 3)
    assert (await device.say("t-9")).status is Status.BUSY
    device.ctx.gate.set()
    assert [answer.status for answer in await asyncio.gather(*waiting)] == [Status.OK] * 3
    assert (await device.say("t-9")).status is Status.OK


async def test_a_cancel_means_the_last_press(device: Device) -> None:
    await device.say(ref="r1")
    await device.say(ref="r2")
    await device.say(ref="r3", stc="0019")
    first, second, cancel = device.ctx.committed
    assert isinstance(cancel, PressCancelled)
    assert cancel.cancels == second.event_id != first.event_id


async def test_a_cancel_of_nothing_is_kept_all_the_same(device: Device) -> None:
    assert (await device.say(stc="0019")).status is Status.OK
    assert isinstance(device.ctx.committed[0], PressCancelled)


async def test_a_heartbeat_is_a_sign_of_life(device: Device) -> None:
    assert (await device.say(mty="PI", stc="")).media is Media.NO_VOICE
    assert [report.terminal for batch in device.ctx.batches for report in batch] == ["t-1"]
    assert not device.ctx.offered


async def test_an_unknown_code_is_shown(device: Device) -> None:
    assert (await device.say(stc="0117")).status is Status.OK
    (event,) = device.ctx.committed
    assert isinstance(event, AlarmRaised)
    assert (event.alarm, event.code) == ("unmapped", "dty=0003;stc=0117")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", Status.BAD_FORMAT),
        ("\ud800", Status.BAD_FORMAT),
        ("<scaip/>", Status.TAG_MISSING),
        ("<scaip><ref>r7</ref><cid>1</cid></scaip>", Status.TAG_MISSING),
        ("<x/>", Status.WRONG_DATA),
        ('<!DOCTYPE a [<!ENTITY b "c">]><mrq><ref>&b;</ref></mrq>', Status.BAD_FORMAT),
        ("<mrq>" + "x" * 20_000 + "</mrq>", Status.TOO_LONG),
    ],
)
async def test_garbage_is_refused_with_a_reason(device: Device, body: str, status: Status) -> None:
    assert said(await device.driver.message("t-1", TYPE, body)).status is status
    assert [refusal[0] for refusal in device.ctx.refusals] == ["t-1"]
    assert device.ctx.refusals[0][2]
    assert (await device.say()).status is Status.OK


@pytest.mark.parametrize("kind", ["text/plain", "", "application/scaip"])
async def test_other_content_is_not_ours(device: Device, kind: str) -> None:
    assert (await device.driver.message("t-1", kind, "hello")).code == 415


async def test_content_types_come_with_parameters(device: Device) -> None:
    body = encode_request(Request(ref="r", cid="1", dty="3")).decode()
    assert (await device.driver.message("t-1", "Application/XML; charset=utf-8", body)).code == 202


async def test_a_stranger_is_forbidden(device: Device) -> None:
    assert (await device.send("")).code == 403
    assert not device.ctx.offered


@given(st.text(max_size=200), st.sampled_from(["", "0010", "0019", "0117"]))
def test_random_bodies_never_raise(body: str, stc: str) -> None:
    async def talk() -> None:
        device = Device(create({}))
        await device.start()
        try:
            said(await device.driver.message("t-1", TYPE, body))
            await device.say(stc=stc)
        finally:
            await device.stop()

    asyncio.run(talk())


async def test_before_and_after_its_run_it_takes_and_sends_nothing(device: Device) -> None:
    shown = ShowText(message_id="m", text="x")
    with pytest.raises(Unsupported):
        await device.driver.send(TerminalId("t-1"), shown)
    await device.stop()
    assert device.ctx.links == {LINK: False}
    assert (await device.send()).code == 503
    with pytest.raises(TransientError):
        await device.driver.send(TerminalId("t-1"), shown)
    await device.start()

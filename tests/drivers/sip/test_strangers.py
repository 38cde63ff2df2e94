"""Late and missing ACK, glare, foreign REFER and Replaces, no common codec, forked answers: sipp.

After each of them the same worker takes a normal call: nothing crashed, no leg was left behind.
"""

import asyncio
import socket
from pathlib import Path

import pytest

from drivers.api.ids import LegId
from drivers.api.legs import (
    LegAnswered,
    LegDigit,
    LegEnded,
    LegMedia,
    LegOffered,
    LegOutcome,
    LegTransferAsked,
)
from drivers.sip.link import SipWorkerLink
from sim.phone import Behaviour
from tests.drivers.sip import scenario
from tests.drivers.sip.rig import CALL, Rig, alive, open_files, request, rig
from tests.drivers.sip.scenario import (
    PROCEEDING,
    ack,
    expect,
    finished,
    get,
    invite,
    pause,
    peer,
    send,
)
from tests.waiting import wait_until

CALLER = LegId("call.caller-1")
ATTENDED = "<sip:120@127.0.0.1:9;user=phone?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2&X-Evil=1>"


async def still_well(world: Rig, link: SipWorkerLink, *, files: int) -> None:
    """Make a normal call; then nothing may be left."""
    assert alive(link.pid)
    phone = await world.phone("after", Behaviour(answer_after_s=0.0))
    await link.dial(CALL, request("call.after", phone.uri))
    await world.answered("call.after")
    await link.hang_up(LegId("call.after"))
    await world.event(LegEnded, "call.after")
    again = await world.factory.adopt(0, world.events.append)
    assert again is not None
    assert not again.snapshot.legs
    await wait_until(lambda: open_files(link.pid) <= files + 1)


async def test_a_late_ack(tmp_path: Path) -> None:
    steps = [
        invite(),
        *PROCEEDING,
        get(200),
        pause(800),
        ack(),
        pause(200),
        send("BYE", cseq=2, dialog=True),
        get(200),
    ]
    async with rig(tmp_path) as world:
        link = await world.worker()
        files = open_files(link.pid)
        async with peer(tmp_path, world.config.contact(0), steps) as sipp:
            await world.event(LegOffered, CALLER)
            await link.answer(CALLER)
            await finished(sipp, tmp_path)
        ended = await world.event(LegEnded, CALLER)
        assert (ended.outcome, ended.by_us) == (LegOutcome.COMPLETED, False)
        assert len(world.find(LegAnswered, CALLER)) == 1
        await still_well(world, link, files=files)


async def test_a_missing_ack_ends_the_leg(tmp_path: Path) -> None:
    steps = [invite(), *PROCEEDING, get(200), pause(6000)]
    async with rig(tmp_path, ack_s=1.0) as world:
        link = await world.worker()
        async with peer(tmp_path, world.config.contact(0), steps):
            await world.event(LegOffered, CALLER)
            await link.answer(CALLER)
            ended = await world.event(LegEnded, CALLER)
        assert (ended.outcome, ended.by_us) == (LegOutcome.LOST, True)
        assert alive(link.pid)


async def test_an_ack_after_we_gave_up_gets_a_bye(tmp_path: Path) -> None:
    steps = [invite(), *PROCEEDING, get(200), pause(3000), ack(), expect("BYE")]
    async with rig(tmp_path, ack_s=0.3) as world:
        link = await world.worker()
        files = open_files(link.pid)
        async with peer(tmp_path, world.config.contact(0), steps) as sipp:
            await world.event(LegOffered, CALLER)
            await link.answer(CALLER)
            await finished(sipp, tmp_path)
        await world.event(LegEnded, CALLER)
        await still_well(world, link, files=files)


async def test_no_common_codec(tmp_path: Path) -> None:
    steps = [
        invite(codec="3"),
        get(100, optional=True),
        get(180, optional=True),
        get(488),
        send("ACK", dialog=True),
    ]
    async with rig(tmp_path) as world:
        link = await world.worker()
        files = open_files(link.pid)
        async with peer(tmp_path, world.config.contact(0), steps) as sipp:
            await finished(sipp, tmp_path)
        assert not world.find(LegAnswered, CALLER)
        assert len(world.find(LegOffered, CALLER)) == len(world.find(LegEnded, CALLER))
        await still_well(world, link, files=files)


async def test_a_reinvite_before_the_ack(tmp_path: Path) -> None:
    """RFC 3261 §14.2: such a re-INVITE gets 491 or 500, or waits; the call goes on."""
    steps = [
        invite(),
        *PROCEEDING,
        get(200),
        invite(cseq=2, dialog=True),
        get(100, optional=True),
        get(200, optional=True),
        get(500, optional=True),
        get(491),
        send("ACK", cseq=2, dialog=True),
        ack(),
        pause(200),
        send("BYE", cseq=3, dialog=True),
        get(200),
    ]
    async with rig(tmp_path) as world:
        link = await world.worker()
        files = open_files(link.pid)
        async with peer(tmp_path, world.config.contact(0), steps) as sipp:
            await world.event(LegOffered, CALLER)
            await link.answer(CALLER)
            await finished(sipp, tmp_path)
        assert (await world.event(LegEnded, CALLER)).outcome is LegOutcome.COMPLETED
        await still_well(world, link, files=files)


# Without a dialog PJSIP ignores REFER; its UDP port must not answer strangers anyway.
STRANGERS = {
    "REFER": [send("REFER", headers="Refer-To: <sip:x@127.0.0.1:9>", retrans=False), pause(300)],
    "Replaces": [
        invite(headers="Replaces: a@b;to-tag=1;from-tag=2\nX-Onekey-Call: call"),
        get(100, optional=True),
        get(481),
        send("ACK", dialog=True),
    ],
    "BYE": [
        send("BYE").replace("[remote_port]>\nCall-ID", "[remote_port]>;tag=7\nCall-ID"),
        get(481),
    ],
    "SUBSCRIBE": [send("SUBSCRIBE", headers="Event: presence\nExpires: 60"), get(403)],
}


@pytest.mark.parametrize("what", STRANGERS)
async def test_orders_about_dialogs_nobody_has(tmp_path: Path, what: str) -> None:
    async with rig(tmp_path) as world:
        link = await world.worker()
        files = open_files(link.pid)
        async with peer(tmp_path, world.config.contact(0), STRANGERS[what]) as sipp:
            await finished(sipp, tmp_path)
        assert not world.events
        await still_well(world, link, files=files)


async def test_an_attended_transfer_in_a_call(tmp_path: Path) -> None:
    steps = [
        invite(),
        *PROCEEDING,
        get(200),
        ack(),
        send(
            "REFER",
            cseq=2,
            dialog=True,
            headers=f"Refer-To: {ATTENDED}",
        ),
        get(603),
        send("BYE", cseq=3, dialog=True),
        get(200),
    ]
    async with rig(tmp_path) as world:
        link = await world.worker()
        files = open_files(link.pid)
        async with peer(tmp_path, world.config.contact(0), steps) as sipp:
            await world.event(LegOffered, CALLER)
            await link.answer(CALLER)
            await finished(sipp, tmp_path)
        asked = await world.event(LegTransferAsked, CALLER)
        assert (asked.target, asked.attended) == ("sip:120@127.0.0.1:9;user=phone", True)
        await world.event(LegEnded, CALLER)
        await still_well(world, link, files=files)


async def test_digits_go_by_info_to_who_knows_no_events(tmp_path: Path) -> None:
    steps = [
        invite(),
        *PROCEEDING,
        get(200),
        ack(),
        expect("INFO"),
        send(
            "INFO", cseq=2, dialog=True, headers="Content-Type: application/dtmf-relay", sdp=""
        ).replace("\n\n\n]]>", "\n\nSignal=9\nDuration=160\n]]>"),
        get(200),
        send("BYE", cseq=3, dialog=True),
        get(200),
    ]
    async with rig(tmp_path) as world:
        link = await world.worker()
        async with peer(tmp_path, world.config.contact(0), steps) as sipp:
            await world.event(LegOffered, CALLER)
            await link.answer(CALLER)
            await world.event(LegMedia, CALLER)
            await asyncio.sleep(0.2)
            await link.send_digits(CALLER, "5")
            await finished(sipp, tmp_path)
        assert (await world.event(LegDigit, CALLER)).digit == "9"
        await world.event(LegEnded, CALLER)


def _reply(message: bytes, tag: bytes, sdp: bytes, contact: bytes) -> bytes:
    lines = message.split(b"\r\n")
    kept = [x for x in lines if x.startswith((b"Via", b"From", b"Call-ID", b"CSeq"))]
    to = next(x for x in lines if x.startswith(b"To")) + b";tag=" + tag
    head = [b"SIP/2.0 200 OK", *kept, to, b"Contact: " + contact]
    head += [b"Content-Type: application/sdp", b"Content-Length: %d" % len(sdp), b"", b""]
    return b"\r\n".join(head) + sdp


async def test_a_second_answer_of_a_forked_call_is_ended(tmp_path: Path) -> None:
    """RFC 3261 §13.2.2.4: each 2xx is acknowledged; what is not wanted gets a BYE."""
    loop = asyncio.get_running_loop()
    async with rig(tmp_path) as world:
        link = await world.worker()
        files = open_files(link.pid)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as fork:
            fork.bind(("127.0.0.1", 0))
            fork.setblocking(False)  # noqa: FBT003 its only argument
            port = fork.getsockname()[1]
            contact = b"<sip:f@127.0.0.1:%d>" % port
            sdp = scenario.SDP.format(version=1, port=port, codec="8")
            for key, value in (
                ("[local_ip_type]", "4"),
                ("[media_ip_type]", "4"),
                ("[local_ip]", "127.0.0.1"),
                ("[media_ip]", "127.0.0.1"),
            ):
                sdp = sdp.replace(key, value)
            body = sdp.replace("\n", "\r\n").encode()
            await link.dial(CALL, request("call.1", f"sip:f@127.0.0.1:{port}"))
            seen: dict[bytes, set[bytes]] = {b"one": set(), b"two": set()}

            async def serve() -> None:
                while True:
                    message, source = await loop.sock_recvfrom(fork, 8192)
                    if message.startswith(b"INVITE"):
                        for tag in seen:
                            await loop.sock_sendto(
                                fork, _reply(message, tag, body, contact), source
                            )
                    else:
                        for tag, methods in seen.items():
                            if b"tag=" + tag in message:
                                methods.add(message.split(b" ")[0])
                        if message.startswith(b"BYE"):
                            ok = _reply(message, b"x", b"", contact).replace(b";tag=x", b"")
                            await loop.sock_sendto(fork, ok, source)

            serving = asyncio.ensure_future(serve())
            try:
                await world.event(LegAnswered, "call.1")
                await wait_until(lambda: b"BYE" in seen[b"two"])
                assert b"ACK" in seen[b"two"]
                await wait_until(lambda: b"ACK" in seen[b"one"])
                assert b"BYE" not in seen[b"one"]
                await link.hang_up(LegId("call.1"))
                await world.event(LegEnded, "call.1")
            finally:
                serving.cancel()
                await asyncio.wait([serving])
        await still_well(world, link, files=files)

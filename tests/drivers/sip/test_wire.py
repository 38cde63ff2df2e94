import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.api import legs
from drivers.api.ids import CallId, LegId
from drivers.sip import wire
from protocols.errors import DecodeError, DecodeReason

CALL, LEG = CallId("c"), LegId("c.1")

COMMANDS: list[wire.Command] = [
    wire.Attach(id=0),
    wire.Acknowledge(id=0, seq=7),
    wire.Dial(
        id=1,
        call=CALL,
        request=legs.DialRequest(
            leg=LEG,
            uri="sip:a@b",
            display_name="王",
            headers=[("X-A", "1")],
            ring_s=2.5,
            from_uri="sip:1@b",
            parts=[legs.BodyPart(content_type="a/b", content_id="c@d", data="<é/>\r\n")],
        ),
    ),
    wire.HangUp(id=2, leg=LEG, reason="over"),
    wire.HangUp(id=2, leg=LEG, reason="over", cause=31),
    wire.Progress(id=2, leg=LEG),
    wire.Answer(id=2, leg=LEG),
    wire.Reject(id=2, leg=LEG, outcome=legs.LegOutcome.BUSY, retry_after_s=30),
    wire.Hold(id=2, leg=LEG),
    wire.Unhold(id=2, leg=LEG),
    wire.Connect(id=5, source=LEG, sink=LegId("c.2")),
    wire.Disconnect(id=5, source=LEG, sink=LegId("c.2")),
    wire.PauseRecording(id=8, call=CALL),
    wire.ResumeRecording(id=8, call=CALL),
    wire.Play(id=3, leg=LEG, prompt="wait", path=Path("/p/wait.wav"), loop=True),
    wire.StopPlaying(id=4, leg=LEG),
    wire.Bridge(id=5, a=LEG, b=LegId("c.2")),
    wire.Unbridge(id=6, a=LEG, b=LegId("c.2")),
    wire.Record(id=7, call=CALL, directory=Path("/r"), segment_s=60),
    wire.StopRecording(id=8, call=CALL),
    wire.SendDigits(id=9, leg=LEG, digits="1#"),
    wire.GetStatistics(id=10),
    wire.Quit(id=11),
]
SNAPSHOT = legs.WorkerSnapshot(
    legs=[
        legs.LegSnapshot(call=CALL, leg=LEG, state=legs.LegState.RINGING, uri="sip:a@b"),
        legs.LegSnapshot(
            call=CALL, leg=LEG, state=legs.LegState.EARLY, uri="sip:a@b", direction="in"
        ),
    ],
    bridges=[(LEG, LegId("c.2"))],
    recordings={CALL: Path("/r")},
    calls_carried=3,
    connections=[(LegId("c.3"), LEG)],
    paused=[CALL],
)
REPLIES: list[wire.Reply] = [
    wire.Done(id=1),
    wire.Failed(id=2, kind=wire.ErrorKind.NO_CAPACITY, detail="full"),
    wire.Attached(
        id=0, pid=5, legs_limit=4, contact="127.0.0.1:5060", dropped=0, snapshot=SNAPSHOT
    ),
    wire.Files(id=3, files=[Path("/r/seg-0001.wav")]),
    wire.Statistics(id=4, legs={LEG: legs.StreamStats(codec="PCMA", rx_packets=3)}),
]
EVENTS: list[legs.AnyLegEvent] = [
    legs.LegOffered(
        call=CALL, leg=LEG, at=1.5, from_user="1", to_user="sos", headers={"x-a": "忙"}
    ),
    legs.LegTransferAsked(call=CALL, leg=LEG, at=1.5, target="sip:x@y", attended=True),
    legs.LegDialled(call=CALL, leg=LEG, at=1.5),
    legs.LegRinging(call=CALL, leg=LEG, at=1.5),
    legs.LegAnswered(call=CALL, leg=LEG, at=1.5),
    legs.LegMedia(call=CALL, leg=LEG, at=1.5, active=False, held=True),
    legs.LegDigit(call=CALL, leg=LEG, at=1.5, digit="#"),
    legs.LegEnded(
        call=CALL,
        leg=LEG,
        at=1.5,
        outcome=legs.LegOutcome.BUSY,
        code=486,
        reason="忙",
        q850=17,
        stats=legs.StreamStats(rx_lost=1, jitter_ms=0.5),
    ),
    legs.PromptEnded(call=CALL, leg=LEG, at=1.5, prompt="wait"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: type(c).__name__)
def test_commands_survive_the_wire(command: wire.Command) -> None:
    line = wire.encode(command)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert wire.decode_command(line) == command


@pytest.mark.parametrize("reply", REPLIES, ids=lambda r: type(r).__name__)
def test_replies_survive_the_wire(reply: wire.Reply) -> None:
    assert wire.decode_message(wire.encode(reply)) == reply


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: type(e).__name__)
def test_events_survive_the_wire(event: legs.AnyLegEvent) -> None:
    message = wire.decode_message(wire.encode_event(9, event))
    assert isinstance(message, wire.Event)
    assert message.seq == 9
    assert wire.event_of(message) == event


def test_every_event_of_the_waist_has_a_name() -> None:
    assert set(wire.EVENT_TYPES.values()) == set(legs.AnyLegEvent.__args__)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", DecodeReason.NOT_JSON),
        (b"{", DecodeReason.NOT_JSON),
        (b"[" * 100_000, DecodeReason.WRONG_SHAPE),
        (b'{"id":1,"cmd":"attach","x":' + b"[" * 100_000, DecodeReason.NOT_JSON),
        (b'{"cmd":"\xff","id":1}', DecodeReason.NOT_UTF8),
        (b'{"cmd":"attach"}', DecodeReason.WRONG_SHAPE),
        (b'{"cmd":"fly","id":1}', DecodeReason.WRONG_SHAPE),
        (b'{"cmd":"record","id":1,"call":"c","directory":"/r","segment_s":0}', None),
        (b'{"cmd":"play","id":1,"leg":"c","prompt":"p","path":7,"loop":true}', None),
        (b" " * (wire.MAX_LINE + 1), DecodeReason.TOO_LARGE),
    ],
)
def test_garbage_has_a_reason(line: bytes, reason: DecodeReason | None) -> None:
    with pytest.raises(DecodeError) as caught:
        wire.decode_command(line)
    assert caught.value.reason is (reason or DecodeReason.WRONG_SHAPE)


def test_an_unknown_event_is_refused() -> None:
    message = wire.decode_message(b'{"msg":"event","seq":1,"kind":"fly","body":{}}')
    assert isinstance(message, wire.Event)
    with pytest.raises(DecodeError) as caught:
        wire.event_of(message)
    assert caught.value.reason is DecodeReason.UNKNOWN_TYPE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(["attach", "ack", "dial", "play", "record", "bridge", "event", "attached"])


@given(st.binary(max_size=300))
def test_any_bytes_raise_only_decode_errors(line: bytes) -> None:
    for decode in (wire.decode_command, wire.decode_message):
        with contextlib.suppress(DecodeError):
            decode(line)


@given(NAMES, st.dictionaries(st.sampled_from(["id", "call", "leg", "request", "seq"]), JSON))
def test_any_json_raises_only_decode_errors(name: str, fields: dict[str, object]) -> None:
    line = json.dumps({**fields, "cmd": name, "msg": name}).encode()
    for decode in (wire.decode_command, wire.decode_message):
        with contextlib.suppress(DecodeError):
            decode(line)


@given(st.text(max_size=50), st.text(max_size=50))
def test_any_text_survives_the_wire(uri: str, reason: str) -> None:
    command = wire.HangUp(id=1, leg=LegId(uri), reason=reason)
    try:
        line = wire.encode(command)
    except UnicodeEncodeError:  # lone surrogates: our own texts were cleaned of them
        return
    assert line.count(b"\n") == 1
    assert wire.decode_command(line) == command

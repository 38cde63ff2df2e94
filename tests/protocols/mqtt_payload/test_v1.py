import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import DecodeError, DecodeReason
from protocols.mqtt_payload import v1

DECODERS: list[Callable[[bytes], object]] = [v1.decode_event, v1.decode_telemetry, v1.decode_state]
PRESS = {"type": "press", "id": "01J0000000000000000000000A", "key": "sos"}


def press(**changes: object) -> bytes:
    return json.dumps(PRESS | changes).encode()


def reason_of(payload: bytes, decode: Callable[[bytes], object] = v1.decode_event) -> DecodeReason:
    with pytest.raises(DecodeError) as caught:
        decode(payload)
    return caught.value.reason


@pytest.mark.parametrize(
    "message",
    [
        v1.Press(id="a", key="sos", ts=1, boot=2, position=v1.Position(lat=31.2, lon=121.4)),
        v1.Alarm(id="a", alarm="fall", code="0x17"),
        v1.Cancel(id="b", of="a"),
        v1.Reply(id="c", of="cmd-1", ok=True, detail="完成"),
    ],
)
def test_events_round_trip(message: v1.Event) -> None:
    assert v1.decode_event(v1.encode(message)) == message


def test_unknown_fields_are_ignored() -> None:
    decoded = v1.decode_event(press(colour="red", nested={"a": [1, 2]}))
    assert decoded == v1.Press(id=PRESS["id"], key="sos")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", DecodeReason.NOT_JSON),
        (b"{", DecodeReason.NOT_JSON),
        (b"null", DecodeReason.WRONG_SHAPE),
        (b"[]", DecodeReason.WRONG_SHAPE),
        (b'"sos"', DecodeReason.WRONG_SHAPE),
        (press(type="dance"), DecodeReason.UNKNOWN_TYPE),
        (press(id=""), DecodeReason.WRONG_SHAPE),
        (press(id="a" * 65), DecodeReason.WRONG_SHAPE),
        (press(id="a\r\nb"), DecodeReason.WRONG_SHAPE),
        (press(id=7), DecodeReason.WRONG_SHAPE),
        (press(key="SOS!"), DecodeReason.WRONG_SHAPE),
        (press(ts="yesterday"), DecodeReason.WRONG_SHAPE),
        (press(ts=-1), DecodeReason.WRONG_SHAPE),
        (press(position={"lat": 91, "lon": 0}), DecodeReason.WRONG_SHAPE),
        (press(position={"lat": 1}), DecodeReason.WRONG_SHAPE),
        (b" " * (v1.MAX_PAYLOAD + 1), DecodeReason.TOO_LARGE),
        (b'{"type":"press","id":"a","key":"\xff\xfe"}', DecodeReason.NOT_UTF8),
        (b'{"type":"press","x":' + b"[" * 10_000, DecodeReason.NOT_JSON),
    ],
)
def test_refusals_have_reasons(payload: bytes, reason: DecodeReason) -> None:
    assert reason_of(payload) is reason


def test_truncations_are_refused() -> None:
    whole = press(position={"lat": 31.2, "lon": 121.4}, ts=1_700_000_000_000)
    for length in range(len(whole)):
        reason_of(whole[:length])


@pytest.mark.parametrize("decode", DECODERS)
@given(payload=st.binary(max_size=300))
def test_random_bytes_raise_only_decode_errors(
    decode: Callable[[bytes], object], payload: bytes
) -> None:
    try:
        decode(payload)
    except DecodeError:
        return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("decode", DECODERS)
@given(
    fields=st.dictionaries(
        st.sampled_from(["type", "id", "key", "ts", "boot", "position", "of", "ok", "online"]), JSON
    )
)
def test_random_json_raises_only_decode_errors(
    decode: Callable[[bytes], object], fields: dict[str, object]
) -> None:
    try:
        decode(json.dumps(fields | {"type": fields.get("type", "press")}).encode())
    except DecodeError:
        return


@given(data=st.data())
def test_a_flipped_byte_is_decoded_or_refused(data: st.DataObject) -> None:
    whole = bytearray(press(position={"lat": 31.2, "lon": 121.4}))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        v1.decode_event(bytes(whole))
    except DecodeError:
        return


def test_state_and_telemetry() -> None:
    assert v1.decode_state(b'{"online":true,"boot":3}') == v1.State(online=True, boot=3)
    decoded = v1.decode_telemetry(b'{"battery":80,"vitals":{"heart_rate":71}}')
    assert decoded == v1.Telemetry(battery=80, vitals={"heart_rate": 71.0})
    assert reason_of(b'{"battery":101}', v1.decode_telemetry) is DecodeReason.WRONG_SHAPE

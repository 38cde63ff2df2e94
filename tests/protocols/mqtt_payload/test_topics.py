import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import DecodeError, DecodeReason, LocalUseError
from protocols.mqtt_payload.topics import (
    Down,
    Up,
    UpTopic,
    down_topic,
    parse_up,
    up_filter,
    up_topic,
)


@pytest.mark.parametrize("channel", list(Up))
def test_round_trip(channel: Up) -> None:
    assert parse_up(up_topic("P-0001", channel)) == UpTopic("P-0001", channel)


def test_names_are_those_of_the_contract() -> None:
    assert up_filter(Up.EVENT) == "onekey/v1/+/up/event"
    assert down_topic("P-0001", Down.ACK) == "onekey/v1/P-0001/down/ack"


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "onekey/v1/P-1/up",
        "onekey/v1/P-1/up/event/x",
        "onekey/v2/P-1/up/event",
        "onekey/v1/P-1/down/ack",
        "onekey/v1/P-1/up/nonsense",
        "onekey/v1//up/event",
        "onekey/v1/ü/up/event",
        "onekey/v1/" + "a" * 65 + "/up/event",
    ],
)
def test_foreign_topics_are_refused(topic: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse_up(topic)
    assert caught.value.reason is DecodeReason.WRONG_TOPIC


@pytest.mark.parametrize("terminal", ["", "+", "#", "a/b", "$SYS", "a b", "\x00"])
def test_a_topic_cannot_be_built_for_a_wild_id(terminal: str) -> None:
    with pytest.raises(LocalUseError):
        down_topic(terminal, Down.ACK)


@given(st.text())
def test_any_text_is_parsed_or_refused(topic: str) -> None:
    try:
        parse_up(topic)
    except DecodeError:
        return

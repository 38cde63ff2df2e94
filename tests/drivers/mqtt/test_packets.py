"""The splitter of reads: every packet once, in order, by the right way, however it was cut."""

from hypothesis import given
from hypothesis import strategies as st

from drivers.mqtt.packets import MALFORMED, PLAIN_PUBLISH, split

Found = list[tuple[str, bytes | int, bytes]]


def length(size: int) -> bytes:
    digits = bytearray()
    while True:
        size, digit = divmod(size, 128)
        digits.append(digit | (128 if size else 0))
        if not size:
            return bytes(digits)


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + length(len(body)) + body


def publish(
    topic: bytes, payload: bytes, *, first: int = PLAIN_PUBLISH, extra: bytes = b""
) -> bytes:
    properties = length(len(extra)) + extra
    return packet(first, len(topic).to_bytes(2, "big") + topic + properties + payload)


def taken(data: bytes) -> tuple[int, Found]:
    found: Found = []
    used = split(
        data,
        lambda topic, payload: found.append(("plain", topic, payload)),
        lambda first, body: found.append(("other", first, body)),
    )
    return used, found


def test_a_plain_publish_is_opened() -> None:
    data = publish(b"a/b", b"{}")
    assert taken(data) == (len(data), [("plain", b"a/b", b"{}")])
    assert taken(publish(b"a", b""))[1] == [("plain", b"a", b"")]


def test_whatever_is_not_plain_is_handed_on_closed() -> None:
    expiry = b"\x02\x00\x00\x00\x3c"
    for data in [
        publish(b"a/b", b"{}", first=0x31),  # retained
        publish(b"a/b", b"{}", first=0x32),  # QoS 1: a packet id follows the topic
        publish(b"a/b", b"{}", extra=expiry),
        packet(0x90, b"\x00\x01\x00\x01"),  # SUBACK
        packet(0xD0, b""),  # PINGRESP
        packet(0xE0, b"\x8e"),  # DISCONNECT
    ]:
        used, found = taken(data)
        assert used == len(data)
        assert [(way, first) for way, first, _ in found] == [("other", data[0])]
        assert data.endswith(found[0][2])


def test_a_publish_whose_topic_ends_outside_of_it_is_left_to_the_library() -> None:
    for body in [b"", b"\x00", b"\x00\x05", b"\x00\x05abc", b"\x00\x03abc", b"\xff\xff\x00"]:
        data = packet(PLAIN_PUBLISH, body) + publish(b"t", b"next")
        used, found = taken(data)
        assert used == len(data)
        assert found == [("other", PLAIN_PUBLISH, body), ("plain", b"t", b"next")]


def test_a_length_without_an_end_is_malformed() -> None:
    assert taken(b"\x30\xff\xff\xff\xff\x01")[0] == MALFORMED
    assert taken(publish(b"t", b"1") + b"\x30\x80\x80\x80\x80")[0] == MALFORMED


@given(
    st.lists(  # 17,000 bytes need three digits of length
        st.one_of(
            st.builds(publish, st.binary(max_size=40), st.binary(max_size=300)),
            st.just(17_000).map(lambda size: publish(b"long", bytes(size))),
            st.builds(packet, st.sampled_from([0x31, 0x40, 0x90, 0xD0, 0xE0]), st.binary()),
        ),
        max_size=4,
    ),
    st.integers(min_value=1, max_value=40_000),
)
def test_cuts_change_nothing(packets: list[bytes], step: int) -> None:
    stream = b"".join(packets)
    whole: Found = []
    kept = b""
    for begin in range(0, len(stream), step):
        kept += stream[begin : begin + step]
        used, found = taken(kept)
        whole += found
        kept = kept[used:]
    assert kept == b""
    assert taken(stream) == (len(stream), whole)
    assert len(whole) == len(packets)


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_and_is_not_read_beyond_its_end(data: bytes) -> None:
    used, found = taken(data)
    assert used == MALFORMED or 0 <= used <= len(data)
    assert sum(len(body) for _, _, body in found) <= len(data)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import DecodeError, DecodeReason
from protocols.markup import (
    MAX_DEPTH,
    MAX_ELEMENTS,
    document,
    element,
    optional,
    parse,
    text,
)

LAUGHS = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<mrq><ref>&b;</ref></mrq>"""
OUTSIDE = b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><x>&f;</x>'
PARAMETER = b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1/x.dtd"> %p;]><x/>'
LIMIT = 8192


def reason(body: bytes) -> DecodeReason:
    with pytest.raises(DecodeError) as caught:
        parse(body, limit=LIMIT)
    return caught.value.reason


@pytest.mark.parametrize("body", [LAUGHS, OUTSIDE, PARAMETER, b"<!DOCTYPE x><x/>"])
def test_document_types_are_refused_before_they_mean_anything(body: bytes) -> None:
    assert reason(body) is DecodeReason.WRONG_SHAPE


def test_a_document_type_in_another_encoding_is_refused_too() -> None:
    with pytest.raises(DecodeError, match="document type"):
        parse(OUTSIDE.decode().encode("utf-16"), limit=LIMIT)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", DecodeReason.WRONG_SHAPE),
        (b"   ", DecodeReason.WRONG_SHAPE),
        (b"<a>", DecodeReason.WRONG_SHAPE),
        (b"<a></b>", DecodeReason.WRONG_SHAPE),
        (b"<a>&undeclared;</a>", DecodeReason.WRONG_SHAPE),
        (b"<a/><b/>", DecodeReason.WRONG_SHAPE),
        (b"\xff\xfe\x00", DecodeReason.WRONG_SHAPE),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', DecodeReason.WRONG_SHAPE),
        (b"<a>\x00</a>", DecodeReason.WRONG_SHAPE),
        (b"<a>" + b"x" * LIMIT + b"</a>", DecodeReason.TOO_LARGE),
        (b"<a>" * (MAX_DEPTH + 1) + b"</a>" * (MAX_DEPTH + 1), DecodeReason.TOO_LARGE),
        (b"<a>" + b"<b/>" * MAX_ELEMENTS + b"</a>", DecodeReason.TOO_LARGE),
    ],
)
def test_what_is_not_xml_or_too_much_is_refused(body: bytes, expected: DecodeReason) -> None:
    assert reason(body) is expected


def test_elements_are_found_by_local_name() -> None:
    root = parse(b'<a xmlns="urn:x" b="1"><c><d>deep</d></c><d>near</d></a>', limit=LIMIT)
    assert (root.namespace, root.attributes) == ("urn:x", {"b": "1"})
    near, first = root.child("d"), root.descend("d")
    assert near is not None
    assert first is not None
    assert (near.text, first.text) == ("near", "deep")
    assert root.descend("none") is None


@given(st.binary(max_size=400))
def test_random_bytes_end_in_an_element_or_a_reason(body: bytes) -> None:
    try:
        parse(body, limit=LIMIT)
    except DecodeError as refused:
        assert refused.detail  # noqa: PT017


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_is_written_can_be_read(content: str, value: str) -> None:
    written = document(element("a", optional("b", content), c=value))
    root = parse(written, limit=LIMIT)
    found = root.child("b")
    assert (found.text if found else "").split() == _cleaned(content).split()
    assert root.attributes["c"].split() == _cleaned(value).split()


def _cleaned(value: str) -> str:
    written = document(element("x", text(value)))
    return parse(written, limit=LIMIT).text

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import DecodeError, DecodeReason
from protocols.markup import parse
from protocols.scaip.messages import (
    MAX_BODY,
    Answer,
    CallTo,
    Media,
    Request,
    Root,
    ScaipRefused,
    Status,
    code,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)

FIRST = b"""<?xml version="1.0" encoding="UTF-8"?>
<mrq><ref>a1B2</ref><ver>01.00</ver><sco>0</sco><cha>0</cha><mty>ME</mty><cid>0123456789</cid>
<dty>0003</dty><did>A1</did><crd>sip:dev@example.com</crd><stc>0010</stc><pri>0</pri><lco>021</lco>
<lge><geo>59.3293,18.0686</geo><tim>2026-11-23T10:00:00+01</tim></lge><lte> Kitchen </lte></mrq>"""
SECOND = b"""<?xml version="1.0" encoding="UTF-8"?>
<scaip>
  <ver>01.00</ver>
  <cid>+123456</cid>
  <dty>0004</dty>
  <did>001d940cb800</did>
  <stc>0070</stc>
  <ref>r-7</ref>
</scaip>"""


def refused(body: bytes) -> ScaipRefused:
    with pytest.raises(ScaipRefused) as caught:
        decode_request(body)
    return caught.value


def test_the_first_dialect() -> None:
    request = decode_request(FIRST)
    assert request.root is Root.MRQ
    assert (request.ref, request.cid, request.dty, request.stc) == (
        "a1B2",
        "0123456789",
        "0003",
        "0010",
    )
    assert (request.geo, request.lte, request.crd) == (
        "59.3293,18.0686",
        "Kitchen",
        "sip:dev@example.com",
    )


def test_the_second_dialect() -> None:
    request = decode_request(SECOND)
    assert request.root is Root.SCAIP
    assert (request.cid, request.did, request.ref) == ("+123456", "001d940cb800", "r-7")


@pytest.mark.parametrize("tag", ["ref", "cid", "dty"])
def test_a_missing_mandatory_tag_is_named(tag: str) -> None:
    root = parse(SECOND, limit=MAX_BODY)
    kept = "".join(f"<{c.name}>{c.text}</{c.name}>" for c in root.children if c.name != tag)
    error = refused(f"<scaip>{kept}</scaip>".encode())
    assert error.status is Status.TAG_MISSING
    assert tag in error.detail
    assert error.ref == ("" if tag == "ref" else "r-7")
    assert error.root is Root.SCAIP


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", Status.BAD_FORMAT, DecodeReason.WRONG_SHAPE),
        (b"SOS", Status.BAD_FORMAT, DecodeReason.WRONG_SHAPE),
        (FIRST[:-3], Status.BAD_FORMAT, DecodeReason.WRONG_SHAPE),
        (b"<alarm/>", Status.WRONG_DATA, DecodeReason.UNKNOWN_TYPE),
        (FIRST.replace(b"0003", b"four"), Status.BAD_FORMAT, DecodeReason.WRONG_SHAPE),
        (FIRST.replace(b"a1B2", b"a b"), Status.BAD_FORMAT, DecodeReason.WRONG_SHAPE),
        (FIRST.replace(b"0123456789", b"9" * 40), Status.BAD_FORMAT, DecodeReason.WRONG_SHAPE),
        (FIRST + b" " * MAX_BODY, Status.TOO_LONG, DecodeReason.TOO_LARGE),
        (b"<mrq>" * 60, Status.TOO_LONG, DecodeReason.TOO_LARGE),
        (
            b'<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]><mrq><ref>&x;</ref></mrq>',
            Status.BAD_FORMAT,
            DecodeReason.WRONG_SHAPE,
        ),
        (
            b'<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><mrq><ref>&b;</ref></mrq>',
            Status.BAD_FORMAT,
            DecodeReason.WRONG_SHAPE,
        ),
    ],
)
def test_what_cannot_be_taken_gets_a_status(
    body: bytes, status: Status, reason: DecodeReason
) -> None:
    error = refused(body)
    assert (error.status, error.reason) == (status, reason)


def test_an_optional_field_out_of_its_pattern_does_not_cost_the_alarm() -> None:
    odd = FIRST.replace(b"<pri>0</pri>", b"<pri>high</pri>").replace(b"<mty>ME", b"<mty>XX")
    request = decode_request(odd)
    assert (request.pri, request.mty, request.stc) == ("", "", "0010")


def test_texts_are_cleaned_and_cut() -> None:
    request = decode_request(FIRST.replace(b" Kitchen ", b"&#10;" + "厨房".encode() + b"x" * 99))
    assert request.lte == ("厨房" + "x" * 99)[:32]


def test_codes_compare_with_or_without_zeros() -> None:
    assert code("9") == "0009" == code("0009")
    assert code("") == ""


def test_answers_of_both_dialects() -> None:
    answer = Answer(
        ref="a1",
        status=Status.OK,
        media=Media.DUPLEX,
        call_to=CallTo.TRANSFERRED,
        number="sip:sos@example.com",
    )
    first, second = encode_answer(answer), encode_answer(answer, Root.SCAIP)
    assert parse(first, limit=MAX_BODY).name == "mrs"
    assert parse(second, limit=MAX_BODY).name == "scaip"
    assert b"<ref>a1</ref><snu>0</snu><mre>1</mre><cre>62</cre>" in first
    assert decode_answer(first) == decode_answer(second) == answer


def test_an_answer_keeps_markup_out() -> None:
    answer = Answer(ref="a1", status=Status.NOT_TREATED, text="<b>&\r\n" + "y" * 300)
    assert len(decode_answer(encode_answer(answer)).text) == 128


@pytest.mark.parametrize("body", [b"<mrs><ref>a</ref></mrs>", b"<mrs><snu>9</snu></mrs>", b"<a/>"])
def test_answers_that_are_none_are_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_answer(body)


codes = st.from_regex(r"[0-9]{1,4}", fullmatch=True)


@given(
    ref=st.from_regex(r"[0-9a-zA-Z]{1,16}", fullmatch=True),
    cid=st.from_regex(r"[0-9]{1,16}", fullmatch=True),
    dty=codes,
    stc=codes,
    root=st.sampled_from(Root),
    lte=st.text("abc &<>'\"é厨", max_size=32).map(str.strip),
)
def test_requests_come_back_as_they_went(
    ref: str, cid: str, dty: str, stc: str, root: Root, lte: str
) -> None:
    request = Request(
        ref=ref, cid=cid, dty=dty, stc=stc, root=root, lte=lte, geo="1.5,-2.25", mty="ME"
    )
    assert decode_request(encode_request(request)) == replace(request, lte=lte)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_random_bytes_are_refused_with_a_status(body: bytes) -> None:
    assert refused(body).status is not Status.OK


@given(st.data())
def test_cut_and_spoilt_requests_end_well(data: st.DataObject) -> None:
    spoilt = bytearray(data.draw(st.sampled_from([FIRST, SECOND])))
    for _ in range(data.draw(st.integers(1, 6))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    try:
        request = decode_request(bytes(spoilt)[: data.draw(st.integers(0, len(spoilt)))])
    except ScaipRefused as error:
        assert error.status is not Status.OK  # noqa: PT017
    else:
        assert request.ref
        assert request.cid

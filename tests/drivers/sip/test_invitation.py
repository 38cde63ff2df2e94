import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sip.invitation import MAX_HEADERS, Trust, headers_of, invitation_of, transfer_target
from protocols.text import clean_text


def invite(*lines: str) -> str:
    return "\r\n".join(["INVITE sip:127.0.0.1:16003 SIP/2.0", *lines, "", "v=0"])


def test_what_the_edge_sends() -> None:
    told = invitation_of(
        invite(
            'f: "王 \\"Lao\\" <a>" <sip:138%2000@onekey.example;x=1>;tag=1',
            "To: <sip:sos@onekey.example>",
            "X-Onekey-Call: 01JD-a.b_c",
            "Priority: emergency",
            "Call-Info: <http://a>;purpose=x",
            "Call-Info:",
            "\t<http://b>",
            "X-Key: sos\x00\u202e",
            "Authorization: Digest secret",
        )
    )
    assert told is not None
    assert (told.call, told.to_user, told.from_user) == ("01JD-a.b_c", "sos", "138 00")
    assert told.from_name == '王 "Lao" <a>'
    assert told.from_uri == "sip:138%2000@onekey.example;x=1"
    assert told.headers == {
        "priority": "emergency",
        "call-info": "<http://a>;purpose=x, <http://b>",
        "x-key": "sos",
    }


@pytest.mark.parametrize(
    ("sender", "user", "name"),
    [
        ("<sip:a@b>", "a", ""),
        ("sip:a@b;tag=1", "a", ""),
        ("Bob <sips:a:secret@b>", "a", "Bob"),
        ("<tel:+8610;phone-context=x>;tag=2", "+8610", ""),
        ("<sip:host.only>", "", ""),
        ("nonsense", "", ""),
        ("", "", ""),
    ],
)
def test_callers(sender: str, user: str, name: str) -> None:
    told = invitation_of(invite("X-Onekey-Call: c", f"From: {sender}"))
    assert told is not None
    assert (told.from_user, told.from_name) == (user, name)


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("X-Onekey-Call:",),
        ("X-Onekey-Call: a b",),
        ("X-Onekey-Call: " + "a" * 65,),
        ("X-Onekey-Call: a", "X-ONEKEY-CALL: a"),
        ("X-Onekey-Call: a/../b",),
    ],
)
def test_without_one_good_call_id_it_is_no_call_of_ours(lines: tuple[str, ...]) -> None:
    assert invitation_of(invite("From: <sip:a@b>", *lines)) is None


def test_headers_are_bounded() -> None:
    lines = [f"X-H{i}: {'v' * 2000}" for i in range(100)]
    told = invitation_of(invite("X-Onekey-Call: c", *lines))
    assert told is not None
    assert len(told.headers) == MAX_HEADERS
    assert max(map(len, told.headers.values())) <= 500


@pytest.mark.parametrize(
    ("refer_to", "target"),
    [
        ("<sip:120@h;user=phone>", ("sip:120@h;user=phone", False)),
        ("sip:120@h", ("sip:120@h", False)),
        ('"A" <sip:a@h?Replaces=x%3Bto-tag%3D1>', ("sip:a@h", True)),
        ("<sip:a@h?X=1>", ("sip:a@h", False)),
        ("sip:a@h\r\nX-Evil: 1", ("sip:a@h  X-Evil: 1", False)),
    ],
)
def test_transfer_targets(refer_to: str, target: tuple[str, bool]) -> None:
    assert transfer_target(refer_to) == target


@pytest.mark.parametrize(
    ("trusted", "bind", "source", "covered"),
    [
        ((), "127.0.0.1", "127.0.0.1:15061", True),
        ((), "127.0.0.1", "127.0.3.4:1", True),
        ((), "10.0.0.5", "10.0.0.5:9", True),
        ((), "10.0.0.5", "10.0.0.6:9", False),
        ((), "0.0.0.0", "10.0.0.6:9", False),  # noqa: S104 that is the point
        ((), "127.0.0.1", "[::1]:5060", True),
        (("10.0.0.0/24",), "127.0.0.1", "10.0.0.6:9", True),
        (("10.0.0.0/24",), "127.0.0.1", "127.0.0.1:9", False),
        (("10.0.0.7",), "127.0.0.1", "10.0.0.7:9", True),
        ((), "127.0.0.1", "", False),
        ((), "127.0.0.1", "localhost:5060", False),
    ],
)
def test_trust(trusted: tuple[str, ...], bind: str, source: str, *, covered: bool) -> None:
    assert Trust(trusted, bind_address=bind).covers(source) is covered


def test_bad_trust_is_an_error() -> None:
    with pytest.raises(ValueError, match="edge"):
        Trust(("edge.example",), bind_address="127.0.0.1")


@given(st.text(), st.text())
def test_any_text_is_survived(head: str, value: str) -> None:
    headers_of(head)
    invitation_of(head)
    transfer_target(value)
    told = invitation_of(invite("X-Onekey-Call: c", f"From: {value}", f"X-A: {value}"))
    if told is not None:
        for text in (told.from_user, told.from_name, told.from_uri, *told.headers.values()):
            assert text == clean_text(text, limit=500)

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.scaip.meaning import ALARMS, AUTOMATIC, Kind, Meaning, meaning_of, position_of
from protocols.scaip.messages import Request


def said(dty: str = "0003", stc: str = "", mty: str = "", geo: str = "") -> Request:
    return Request(ref="r1", cid="1", dty=dty, stc=stc, mty=mty, geo=geo)


@pytest.mark.parametrize(
    ("request_", "kind", "name"),
    [
        (said(stc="0010"), Kind.PRESS, "sos"),
        (said(stc="10", mty="ME"), Kind.PRESS, "sos"),
        (said("0005", stc="0010"), Kind.PRESS, "sos"),
        (said("0003"), Kind.PRESS, "sos"),  # a trigger that says no more
        (said("0005", stc="0009"), Kind.ALARM, "fall"),
        (said("5", stc="9"), Kind.ALARM, "fall"),
        (said("0005"), Kind.ALARM, "fall"),
        (said("0023", stc="0009"), Kind.ALARM, "smoke"),
        (said("0021", stc="0009"), Kind.ALARM, "gas"),
        (said("0033", stc="0009"), Kind.ALARM, "water"),
        (said("0003", stc="0014"), Kind.ALARM, "low_battery"),
        (said("0003", stc="0016"), Kind.ALARM, "low_battery"),
        (said("0045", stc="0085"), Kind.ALARM, "power_cut"),
        (said("0045", stc="0023"), Kind.ALARM, "link_lost"),
        (said("0011", stc="0081"), Kind.ALARM, "pill_missed"),
        (said("0003", stc="0019"), Kind.CANCEL, ""),
        (said("0045", stc="0070"), Kind.ALIVE, ""),
        (said("0045", mty="PI"), Kind.ALIVE, ""),
        (said("0003", stc="0010", mty="PI"), Kind.ALIVE, ""),
        (said("0003", stc="0010", mty="RE"), Kind.ALIVE, ""),
        (said("0045", mty="IN"), Kind.ALIVE, ""),
        (said("0003", stc="0102"), Kind.ALIVE, ""),
        (said("0099", stc="0009"), Kind.ALARM, "unmapped"),
        (said("0005", stc="0117"), Kind.ALARM, "unmapped"),
    ],
)
def test_what_requests_mean(request_: Request, kind: Kind, name: str) -> None:
    meaning = meaning_of(request_)
    assert (meaning.kind, meaning.name) == (kind, name)


def test_the_devices_own_codes_are_kept() -> None:
    assert meaning_of(said("99", stc="9")) == Meaning(Kind.ALARM, "unmapped", "dty=0099;stc=0009")


def test_alarm_names_are_words_of_the_contract() -> None:
    for name in {*ALARMS.values(), *AUTOMATIC.values()}:
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name)


@given(
    st.from_regex(r"[0-9]{1,4}", fullmatch=True),
    st.from_regex(r"[0-9]{0,4}", fullmatch=True),
    st.sampled_from(["", "ME", "RE", "IN", "PI"]),
)
def test_every_request_means_something(dty: str, stc: str, mty: str) -> None:
    meaning = meaning_of(said(dty, stc, mty))
    assert bool(meaning.name) == (meaning.kind in {Kind.PRESS, Kind.ALARM})


@pytest.mark.parametrize(
    ("geo", "expected"),
    [
        ("59.3293,18.0686", (59.3293, 18.0686)),
        ("-33.9,-151.2", (-33.9, -151.2)),
        ("91,0", None),
        ("0,181", None),
        ("1.2.3,4", None),
        ("1", None),
        ("1,2,3", None),
        ("", None),
    ],
)
def test_positions(geo: str, expected: tuple[float, float] | None) -> None:
    assert position_of(said(geo=geo)) == expected

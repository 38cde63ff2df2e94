import csv
import io

import pytest

from gateway.cdr.records import call_cdr
from gateway.cdr.sheet import HEADER, cell, lines_of
from gateway.incidents.model import LegRecord
from tests.gateway.cdr.made import call, leg


def rows(*legs: LegRecord, kind: str = "sos") -> list[dict[str, str]]:
    made = lines_of(call_cdr(call(), legs, terminal="pendant-1", kind=kind))
    return list(csv.DictReader(io.StringIO((HEADER + made).decode("utf-8-sig"))))


def test_one_line_per_leg() -> None:
    found = rows(leg("terminal-1"), leg("target-1"))
    assert [row["leg"] for row in found] == ["c1.terminal-1", "c1.target-1"]
    assert {row["call"] for row in found} == {"c1"}
    assert found[0]["call_started_at"] == "2026-09-21T14:13:20.000+00:00"
    assert (found[1]["leg_q850"], found[1]["leg_mos"], found[1]["leg_rx_loss_pct"]) == (
        "16",
        "",
        "5.0",
    )


def test_a_call_without_legs_has_a_line() -> None:
    (row,) = rows()
    assert (row["call"], row["leg"]) == ("c1", "")


@pytest.mark.parametrize("evil", ['=HYPERLINK("http://x")', "+1", "-2", "@SUM(A1)", "\t=1", "\r=1"])
def test_formulas_are_text(evil: str) -> None:
    (row,) = rows(kind=evil)
    assert row["call_kind"].startswith("'")
    assert cell("kind", evil)[0] == "'"


def test_commas_quotes_and_lines_stay_in_their_cell() -> None:
    (row,) = rows(kind='a,"b"\nc')
    assert row["call_kind"] == 'a,"b" c'

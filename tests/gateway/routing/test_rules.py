from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.api.ids import TerminalId
from gateway.config import RoutingConfig
from gateway.incidents.model import Flag
from gateway.routing.model import Decision, Question
from gateway.routing.rules import Router

SHANGHAI = ZoneInfo("Asia/Shanghai")
TARGETS: dict[str, dict[str, Any]] = {
    "anna": {"uri": "sip:anna@127.0.0.1", "label": "Anna", "ring_s": 15},
    "bert": {"uri": "sip:bert@127.0.0.1"},
}


def router(*rules: dict[str, Any], **more: Any) -> Router:
    named = [{"name": f"rule-{n}", **rule} for n, rule in enumerate(rules)]
    return Router(RoutingConfig.model_validate({"targets": TARGETS, "rules": named, **more}))


def local(text: str) -> float:
    """Return a local time in Shanghai; 2025-01-06 is a Monday."""
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).timestamp()


def question(**changes: Any) -> Question:
    values: dict[str, Any] = {
        "terminal": TerminalId("pendant-1"),
        "kind": "portable",
        "site": "north",
        "event": "press",
        "key": "sos",
        "flags": frozenset(),
        "at": local("2025-01-06T12:00"),
    }
    return Question(**{**values, **changes})


TRAINING = frozenset({Flag.TRAINING})
QUARANTINE = frozenset({Flag.QUARANTINE})
NIGHT = {"begins": "22:00", "ends": "06:00"}

TABLE: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    ("empty matches all", {}, {}, True),
    ("event", {"events": ["press"]}, {}, True),
    ("other event", {"events": ["alarm"]}, {}, False),
    ("key", {"keys": ["taxi", "sos"]}, {}, True),
    ("other key", {"keys": ["taxi"]}, {}, False),
    ("kind", {"kinds": ["portable"]}, {}, True),
    ("other kind", {"kinds": ["tv"]}, {}, False),
    ("unknown kind is no kind", {"kinds": ["tv"]}, {"kind": None, "flags": QUARANTINE}, False),
    ("a stranger may match", {"keys": ["sos"]}, {"kind": None, "flags": QUARANTINE}, True),
    ("site", {"sites": ["north"]}, {}, True),
    ("other site", {"sites": ["south"]}, {}, False),
    ("no site", {"sites": ["south"]}, {"site": None}, False),
    ("weekday", {"weekdays": [0]}, {}, True),
    ("other weekday", {"weekdays": [1, 2]}, {}, False),
    ("hours", {"begins": "08:00", "ends": "18:00"}, {}, True),
    ("begin is in", {"begins": "12:00", "ends": "18:00"}, {}, True),
    ("end is out", {"begins": "08:00", "ends": "12:00"}, {}, False),
    ("before", {"begins": "12:01", "ends": "18:00"}, {}, False),
    ("whole day", {"begins": "08:00", "ends": "08:00"}, {}, True),
    ("night by day", NIGHT, {}, False),
    ("night, evening", NIGHT, {"at": local("2025-01-06T23:00")}, True),
    ("night, morning", NIGHT, {"at": local("2025-01-06T05:59")}, True),
    ("night, end", NIGHT, {"at": local("2025-01-06T06:00")}, False),
    (
        "Friday's night lasts into Saturday",
        {**NIGHT, "weekdays": [4]},
        {"at": local("2025-01-11T03:00")},
        True,
    ),
    (
        "Friday morning is Thursday's night",
        {**NIGHT, "weekdays": [4]},
        {"at": local("2025-01-10T03:00")},
        False,
    ),
    ("exercise, rule for real", {}, {"flags": TRAINING}, False),
    ("exercise, rule for exercises", {"training": True}, {"flags": TRAINING}, True),
    ("real, rule for exercises", {"training": True}, {}, False),
]


@pytest.mark.parametrize(
    ("rule", "asked", "expected"),
    [row[1:] for row in TABLE],
    ids=[row[0].replace(" ", "_") for row in TABLE],
)
def test_matches(rule: dict[str, Any], asked: dict[str, Any], expected: bool) -> None:  # noqa: FBT001  a column
    chain = [{"targets": ["anna"]}]
    decision = router({**rule, "chain": chain}).decide(question(**asked))
    assert (decision.rule == "rule-0") == expected


def test_the_first_match_wins() -> None:
    decision = router({"keys": ["taxi"]}, {"keys": ["sos"]}, {}).decide(question())
    assert decision.rule == "rule-1"


def test_a_decision_carries_its_targets() -> None:
    rule = {
        "chain": [{"targets": ["anna", "bert"], "mode": "together"}, {"targets": ["bert"]}],
        "last_resort": "anna",
        "priority": "normal",
    }
    decision = router(rule).decide(question())
    assert [[t.name for t in stage.targets] for stage in decision.chain] == [
        ["anna", "bert"],
        ["bert"],
    ]
    assert [stage.together for stage in decision.chain] == [True, False]
    assert decision.last_resort is not None
    assert (decision.last_resort.uri, decision.last_resort.ring_s) == (TARGETS["anna"]["uri"], 15)
    assert (decision.flow, decision.emergency) == ("emergency", False)


def test_a_rule_may_ring_nobody() -> None:
    decision = router({"flow": "none", "chain": [{"targets": ["anna"]}]}).decide(question())
    assert (decision.flow, decision.chain, decision.emergency) == ("none", (), False)


@pytest.mark.parametrize(
    ("asked", "flow"),
    [
        ({}, "emergency"),
        ({"flags": QUARANTINE, "kind": None}, "emergency"),
        ({"flags": TRAINING}, "none"),
        ({"key": "taxi"}, "none"),
        ({"event": "alarm", "key": "sos"}, "none"),
    ],
)
def test_without_a_rule(asked: dict[str, Any], flow: str) -> None:
    decision = router().decide(question(**asked))
    emergency = flow == "emergency"
    assert decision == Decision(rule="", flow=flow, chain=(), last_resort=None, emergency=emergency)


def test_hours_are_those_of_the_configured_zone() -> None:
    noon_utc = datetime(2025, 1, 6, 12, tzinfo=UTC).timestamp()
    rule = {"begins": "19:00", "ends": "21:00"}
    assert router(rule).decide(question(at=noon_utc)).rule == "rule-0"
    assert router(rule, timezone="Europe/Berlin").decide(question(at=noon_utc)).rule == ""


def test_a_stage_may_name_a_group_with_its_way_on() -> None:
    groups = {
        "nurses": {"label": "护士", "overflow_after_s": 30, "overflow_to": "doctors"},
        "doctors": {"strategy": "together", "overflow_to": "bert"},
    }
    asked = router({"chain": [{"targets": ["nurses", "anna"]}]}, groups=groups)
    nurses, anna = asked.decide(question()).chain[0].targets
    assert (nurses.name, nurses.uri, nurses.label, nurses.ring_s) == ("nurses", "", "护士", 30)
    assert nurses.group is not None
    assert not nurses.group.together
    doctors = nurses.group.overflow
    assert doctors is not None
    assert doctors.group is not None
    assert doctors.group.together
    assert doctors.group.overflow is not None
    assert doctors.group.overflow.uri == "sip:bert@127.0.0.1"
    assert anna.group is None


def test_an_unknown_zone_is_found_at_the_start() -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        router(timezone="Mars/Olympus")


TEXTS = st.sampled_from(["sos", "taxi", "fall", "", "x" * 64])
HOURS = st.times().map(lambda t: t.replace(microsecond=0).isoformat())
RULES = st.fixed_dictionaries(
    {
        "keys": st.lists(TEXTS, max_size=2),
        "events": st.lists(st.sampled_from(["press", "alarm"]), max_size=2),
        "weekdays": st.lists(st.integers(0, 6), max_size=3),
        "training": st.booleans(),
        "flow": st.sampled_from(["emergency", "none"]),
        "chain": st.lists(st.just({"targets": ["anna"]}), max_size=2),
    },
    optional={"hours": st.tuples(HOURS, HOURS)},
)


@given(
    rules=st.lists(RULES, max_size=4),
    key=TEXTS,
    event=st.sampled_from(["press", "alarm"]),
    flags=st.frozensets(st.sampled_from(Flag)),
    at=st.floats(0, 4e9),
    kind=st.none() | TEXTS,
)
def test_there_is_always_an_answer(
    rules: list[dict[str, Any]],
    key: str,
    event: str,
    flags: frozenset[Flag],
    at: float,
    kind: str | None,
) -> None:
    for rule in rules:
        if hours := rule.pop("hours", None):
            rule["begins"], rule["ends"] = hours
    asked = question(key=key, event=event, flags=flags, at=at, kind=kind)
    decision = router(*rules).decide(asked)
    if decision.rule:
        chosen = rules[int(decision.rule.removeprefix("rule-"))]
        assert chosen["training"] == (Flag.TRAINING in flags)
    elif key == "sos" and event == "press":
        assert decision.emergency != (Flag.TRAINING in flags)
    else:
        assert decision.flow == "none"

"""Calls and legs for the tests of records."""

from dataclasses import replace

from drivers.api.ids import CallId, IncidentId, LegId
from gateway.incidents.model import CallRecord, LegRecord

START = 1_790_000_000.0


def call(name: str = "c1", incident: str = "i1", **changes: object) -> CallRecord:
    made = CallRecord(
        id=CallId(name),
        incident=IncidentId(incident),
        flow="emergency",
        started_at=START,
        state=b"{}",
        ended_at=START + 60,
        outcome="completed",
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # a test's shorthand


def leg(name: str, of: str = "c1", incident: str = "i1", **changes: object) -> LegRecord:
    role = "terminal" if name.startswith(("terminal", "caller")) else "target"
    made = LegRecord(
        id=LegId(f"{of}.{name}"),
        call=CallId(of),
        incident=IncidentId(incident),
        role=role,
        party="pendant-1" if role == "terminal" else "agent-li",
        started_at=START + 1,
        answered_at=START + 5,
        ended_at=START + 50,
        outcome="completed",
        code=200,
        reason="OK",
        stats={
            "codec": "PCMA",
            "rx_packets": 1900,
            "rx_lost": 100,
            "tx_packets": 2000,
            "tx_lost": 20,
            "jitter_ms": 4.26,
            "rtt_ms": 12.0,
        },
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # a test's shorthand

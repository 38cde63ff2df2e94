"""Words that the end-to-end tests share: what the API, the metrics, the store and phones show."""

import random
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiomqtt
from prometheus_client.parser import text_string_to_metric_families

from sim.phone import Phone
from sim.polling import poll
from sim.tones import spans
from sim.world import World

Line = dict[str, Any]


def report(**measured: object) -> None:
    """Say what a test measured; pytest shows it when the test fails, and with -s or -rP."""
    sys.stdout.write("".join(f"{name} {value}\n" for name, value in measured.items()))


def seeded() -> random.Random:
    """Return chance with a seed of its own, which is shown when the test fails."""
    seed = random.randrange(2**32)
    report(seed=seed)
    return random.Random(seed)


def moment(text: str) -> float:
    """Return a time of the API as Unix seconds."""
    return datetime.fromisoformat(text).timestamp()


async def timeline(world: World, incident: str) -> list[Line]:
    lines: list[Line] = (await world.incident(incident))["timeline"]
    return lines


async def line(
    world: World, incident: str, what: str, *, nth: int = 1, deadline: float = 10.0
) -> Line:
    """Return the nth line `what` of an incident as soon as it is there."""

    async def look() -> Line | None:
        found = [one for one in await timeline(world, incident) if one["what"] == what]
        return found[nth - 1] if len(found) >= nth else None

    return await poll(look, f"line {what!r} number {nth} of {incident}", deadline=deadline)


async def state(world: World, incident: str, wanted: str, *, deadline: float = 10.0) -> None:
    """Return when the incident is in state `wanted`."""

    async def look() -> bool:
        return bool((await world.incident(incident))["incident"]["state"] == wanted)

    await poll(look, f"{incident} to be {wanted}", deadline=deadline)


async def close(world: World, incident: str) -> None:
    body = {"outcome": "test", "note": "end-to-end test"}
    answer = await world.http("POST", f"/api/v1/incidents/{incident}/close", body=body)
    assert answer.status == 200, answer.text


async def items(world: World, what: str) -> list[dict[str, Any]]:
    """Return all `calls` or `workers`, or the first page of `terminals`."""
    found: list[dict[str, Any]] = (await world.http("GET", f"/api/v1/{what}")).json()["items"]
    return found


async def of_terminal(world: World, terminal: str) -> list[dict[str, Any]]:
    """Return the incidents of a terminal, newest first."""
    return [one for one in await world.incidents() if one["terminal"] == terminal]


async def sample(world: World, name: str, **labels: str) -> float:
    """Return a sample of /metrics; 0 when it is not there."""
    text = (await world.http("GET", "/metrics")).text
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            if one.name == name and one.labels == labels:
                return float(one.value)
    return 0.0


async def sample_becomes(
    world: World, name: str, value: float, *, deadline: float = 5.0, **labels: str
) -> None:
    async def look() -> bool:
        return await sample(world, name, **labels) >= value

    await poll(look, f"{name} {labels} to be {value}", deadline=deadline)


@asynccontextmanager
async def publisher(world: World, user: str) -> AsyncIterator[aiomqtt.Client]:
    """Connect with a terminal's account beside the terminal's own connection."""
    account = world.account(user)
    async with aiomqtt.Client(
        account.host,
        account.port,
        username=account.terminal,
        password=account.password,
        identifier=f"{user}-beside",
        protocol=aiomqtt.ProtocolVersion.V5,
    ) as client:
        yield client


def rows(store: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    """Ask the SQLite store of a gateway, read-only."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(query, values).fetchall()


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Hold the write lock, as a backup tool might that hangs."""
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


def store_of(world: World) -> Path:
    return world.data_dir / "onekey.sqlite"


def check_books(store: Path) -> None:
    """Check that events, incidents and timelines agree: each press once, in one incident."""
    assert rows(store, "PRAGMA integrity_check") == [("ok",)]
    journal = dict(
        rows(store, "SELECT incident, count(*) FROM events WHERE type = 'press' GROUP BY 1")
    )
    presses = dict(rows(store, "SELECT id, presses FROM incidents"))
    lines = dict(
        rows(
            store,
            "SELECT incident, count(*) FROM timeline"
            " WHERE what IN ('press_received', 'press_again') GROUP BY 1",
        )
    )
    assert journal == presses == lines
    opened = "SELECT terminal FROM incidents WHERE closed_at IS NULL GROUP BY 1 HAVING count(*) > 1"
    assert rows(store, opened) == []


def longest_hole_ms(phone: Phone, hz: float, *, since: float, until: float) -> float:
    """Return the longest silence of a tone in a phone's first call, between two Unix times."""
    media = phone.find("media")
    assert media is not None
    began = media.at  # the recorder starts with the first media
    edges = [since - began]
    for start, end in spans(phone.record, hz):
        if end > since - began and start < until - began:
            edges += [max(start, since - began), min(end, until - began)]
    edges.append(until - began)
    assert len(edges) > 2, "no tone at all"
    holes = (edges[i + 1] - edges[i] for i in range(0, len(edges), 2))
    return max(holes) * 1000


def whats(lines: Sequence[Line]) -> list[str]:
    return [one["what"] for one in lines]

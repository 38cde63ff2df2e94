"""No peer can grow the number of series: a busy run, then every family and label is looked at."""

import asyncio
import random
import re
import shutil
import string
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ulid import ULID

from drivers.api.events import ReceiptOutcome, Refusal
from drivers.api.legs import LegOutcome
from gateway.agents.model import OfferOutcome
from gateway.agents.states import AgentState
from gateway.flows.model import CallOutcome, Cause, Role
from gateway.incidents.kinds import KNOWN_ALARMS, OTHER
from gateway.incidents.model import Flag, Outcome
from gateway.incidents.states import IncidentState
from gateway.pipeline import TYPE_LABELS
from gateway.store.failures import FailureReason
from gateway.tasks.model import TaskKind
from gateway.telephony.slot_states import SlotState
from gateway.terminals.model import Presence
from protocols.mqtt_payload.topics import Up, up_topic
from protocols.mqtt_payload.v1 import Alarm, Event, Press, encode
from sim.options import AgentSpec, WorldOptions, terminal_id
from sim.phone import BUSY
from sim.world import World
from tests.e2e.stage import publisher, report, sample_becomes, seeded

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SERIES_MAX = 200
KEYS = ("sos", "hospital", "taxi", "mobility", "service", "call")
KINDS = sorted(KNOWN_ALARMS - {"low_battery", "charging", "power_cut", "taken_off"})
# What a person can close with; `expired` is the clock's.
OUTCOMES = [one.value for one in Outcome if one is not Outcome.EXPIRED]
STRANGERS = 5
OPTIONS = WorldOptions(
    terminals=len(KEYS) + len(KINDS) + 1,
    voices=0,
    pendants=0,
    agents=(AgentSpec(behaviour=BUSY),),
    max_workers=2,
)

STATUS = frozenset(f"{n}xx" for n in range(1, 6))
ROUTES = frozenset(
    {
        "/", "/health/live", "/health/ready", "/metrics", "/api/v1/feed", "/api/v1/calls",
        "/api/v1/workers", "/api/v1/incidents", "/api/v1/incidents/{id}",
        "/api/v1/incidents/{id}/close", "/api/v1/terminals", "/api/v1/terminals/{id}",
        "unmatched", "garbage",
    }
)  # fmt: skip
STATIC = re.compile(r"/static/[a-z_-]+\.(css|js|svg|png|ico)")


def values(kind: type) -> frozenset[str]:
    return frozenset(one.value for one in kind)  # type: ignore[attr-defined]


DRIVER = frozenset({"mqtt"})
FLOW = frozenset({"emergency"})
KIND = KNOWN_ALARMS | {*KEYS, "low_battery", "charging", "power_cut", "taken_off", OTHER}
TOLD = frozenset(
    {"committed", "ringing", "answered", "waiting", "closed", "refused"}
    | {"show_text", "speak", "device_command", "expect_call"}
)
# Every label that the daemon may show, and what it may say. A new one must be entered here.
CLOSED: Mapping[tuple[str, str], frozenset[str]] = {
    ("onekey_incidents_opened", "kind"): KIND,
    ("onekey_incidents_flagged", "flag"): values(Flag),
    ("onekey_incidents_closed", "kind"): KIND,
    ("onekey_incidents_closed", "outcome"): values(Outcome),
    ("onekey_incidents_open", "state"): values(IncidentState),
    ("onekey_operator_alarms", "cause"): values(Cause),
    ("onekey_agents", "state"): values(AgentState),
    ("onekey_agents", "group"): frozenset({"other"}),  # the world has no groups
    ("onekey_agent_offers", "outcome"): values(OfferOutcome),
    ("onekey_tasks_open", "kind"): values(TaskKind),
    ("onekey_tasks_done", "kind"): values(TaskKind),
    ("onekey_callers", "verdict"): frozenset({"routed", "refused"}),
    ("onekey_calls_active", "flow"): FLOW,
    ("onekey_calls", "flow"): FLOW,
    ("onekey_calls", "outcome"): values(CallOutcome),
    ("onekey_legs_active", "role"): values(Role),
    ("onekey_legs", "role"): values(Role),
    ("onekey_legs", "outcome"): values(LegOutcome),
    ("onekey_pool_workers", "state"): values(SlotState),
    ("onekey_pool_workers_started", "result"): frozenset({"started", "adopted", "failed"}),
    ("onekey_pool_rooms_refused", "priority"): frozenset({"emergency", "normal"}),
    ("onekey_events_received", "driver"): DRIVER,
    ("onekey_events_received", "type"): frozenset(TYPE_LABELS.values()),
    ("onekey_events_received", "outcome"): values(ReceiptOutcome),
    ("onekey_messages_refused", "driver"): DRIVER,
    ("onekey_messages_refused", "reason"): values(Refusal),
    ("onekey_driver_link_up", "driver"): DRIVER,
    ("onekey_driver_link_up", "link"): frozenset({"mqtt.events", "mqtt.state", "mqtt.telemetry-0"}),
    ("onekey_telemetry_received", "driver"): DRIVER,
    ("onekey_telemetry_dropped", "cause"): frozenset({"unknown_terminal", "superseded", "older"}),
    ("onekey_terminals", "state"): values(Presence),
    ("onekey_notifications", "state"): TOLD,
    ("onekey_notifications", "result"): frozenset(
        {"sent", "unsupported", "failed", "expired", "dropped", "overflow", "no_driver"}
    ),
    ("onekey_store_errors", "reason"): values(FailureReason),
    ("onekey_http_requests", "route"): ROUTES,
    ("onekey_http_requests", "status"): STATUS,
}


def word(chance: random.Random) -> str:
    return "".join(chance.choices(string.ascii_lowercase, k=12))


async def every_kind_with_every_outcome(world: World) -> None:
    """Open and close an incident of each kind with each outcome, terminals side by side."""

    async def one_terminal(terminal: str, kind: str) -> None:
        pendant = await world.new_pendant(terminal, voice=False)
        for outcome in OUTCOMES:
            event: Event
            if kind in KEYS:
                event = Press(id=str(ULID()), key=kind)
            else:
                event = Alarm(id=str(ULID()), alarm=kind)
            pendant.send(event)
            _, ack = await pendant.heard(event.id, "committed", deadline=20)
            path = f"/api/v1/incidents/{ack.incident}/close"
            answer = await world.http("POST", path, body={"outcome": outcome, "note": kind})
            assert answer.status == 200, answer.text
            await pendant.heard(event.id, "closed", deadline=20)

    async with asyncio.TaskGroup() as terminals:
        for number, kind in enumerate((*KEYS, *KINDS), 1):
            terminals.create_task(one_terminal(terminal_id(number), kind))


async def noise(world: World, chance: random.Random) -> None:
    """Send what nobody has heard of: keys, alarms, types, shapes, bytes, on all channels."""
    last = terminal_id(OPTIONS.terminals)
    for name in (last, *(f"X-{word(chance)}" for _ in range(STRANGERS))):
        if name != last:
            await world.broker.add_users({name: world.account(name).password})
        async with publisher(world, name) as client:
            for payload in payloads(chance):
                await client.publish(up_topic(name, Up.EVENT), payload, 1)
            for channel in (Up.TELEMETRY, Up.STATE):
                await client.publish(up_topic(name, channel), chance.randbytes(100), 1)
            await client.publish(f"onekey/v1/{name}/up/{word(chance)}", b"{}", 1)


def payloads(chance: random.Random) -> list[bytes]:
    keys = [encode(Press(id=str(ULID()), key=word(chance))) for _ in range(6)]
    alarms = [encode(Alarm(id=str(ULID()), alarm=word(chance))) for _ in range(6)]
    odd = [b'{"type":"%s","id":"a"}' % word(chance).encode() for _ in range(3)]
    return [*keys, *alarms, *odd, chance.randbytes(300), b"[1]", b"x" * 20_000]


async def strange_requests(world: World, chance: random.Random) -> None:
    for method in ("GET", "POST", "DELETE", "BREW"):
        for path in ("/", "/api/v1/", "/api/v1/incidents/", "/static/", "/api/v1/terminals/"):
            await world.http(method, path + word(chance))
    for path in ("/", "/health/live", "/api/v1/incidents", "/api/v1/workers"):
        assert (await world.http("GET", path)).status == 200


async def check_with_promtool(text: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        return
    process = await asyncio.create_subprocess_exec(
        promtool, "check", "metrics",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate(text.encode())
    assert (process.returncode, said.decode()) == (0, "")


async def test_no_family_grows_and_every_label_is_from_its_closed_set(tmp_path: Path) -> None:
    chance = seeded()
    async with World(tmp_path, OPTIONS) as world:
        await every_kind_with_every_outcome(world)
        await noise(world, chance)
        await strange_requests(world, chance)
        await sample_becomes(
            world, "onekey_messages_refused_total", 6, driver="mqtt", reason="too_large"
        )
        text = (await world.http("GET", "/metrics")).text
    series: Counter[str] = Counter()
    strange = set()
    for family in text_string_to_metric_families(text):
        series[family.name] += len(family.samples)
        base = family.name.removesuffix("_created")
        for one in family.samples:
            for label, value in one.labels.items():
                if label == "le":
                    continue
                allowed = CLOSED.get((base, label), frozenset())
                if value not in allowed and not (label == "route" and STATIC.fullmatch(value)):
                    strange.add((base, label, value))
    report(series=sum(series.values()), largest_families=series.most_common(3))
    assert strange == set()
    assert series["onekey_incidents_closed"] >= len(OUTCOMES) * (len(KEYS) + len(KINDS))
    assert {name: n for name, n in series.items() if n > SERIES_MAX} == {}
    await check_with_promtool(text)

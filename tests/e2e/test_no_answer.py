"""Promise 7: a chain of people who do not answer goes on to its end, alarms, and begins again."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sim.options import AgentSpec, WorldOptions
from sim.phone import BUSY, DECLINES, NEVER, Behaviour
from sim.world import World
from tests.e2e.stage import Line, close, items, line, moment, report, sample, state, timeline

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

RING_S = 0.8
LAST_RING_S = 1.0
RULES = f"""
[emergency]
last_resort_ring_s = {LAST_RING_S}
chain_pause_s = 1.0

[[routing.rules]]
name = "nobody"
keys = ["sos"]
last_resort = "duty"
chain = [
    {{ targets = ["busy", "declines"] }},
    {{ targets = ["nowhere", "never"], mode = "in_order" }},
]

[[routing.rules]]
name = "together"
keys = ["service"]
chain = [{{ targets = ["never", "quick", "duty"], mode = "together" }}]
"""
OPTIONS = WorldOptions(
    terminals=2,
    voices=0,
    pendants=2,
    agents=(
        AgentSpec(name="busy", behaviour=BUSY, ring_s=RING_S),
        AgentSpec(name="declines", behaviour=DECLINES, ring_s=RING_S),
        AgentSpec(name="nowhere", started=False, ring_s=RING_S),
        AgentSpec(name="never", behaviour=NEVER, ring_s=RING_S),
        AgentSpec(name="duty", behaviour=NEVER, ring_s=RING_S),
        AgentSpec(name="quick", behaviour=Behaviour(answer_after_s=0.3), ring_s=RING_S),
    ),
    extra_toml=RULES,
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with World(tmp_path_factory.mktemp("nobody"), OPTIONS) as world:
        yield world
    assert world.leftovers == []


def parties(lines: list[Line], what: str) -> list[str]:
    return [one["data"]["target"] for one in lines if one["what"] == what]


async def test_the_chain_goes_on_to_the_last_resort_then_alarms_and_rings_again(
    world: World,
) -> None:
    pendant = world.pendants["P-0001"]
    alarms = await sample(world, "onekey_operator_alarms_total", cause="nobody_answered")
    event = pendant.press("sos")
    _, ack = await pendant.heard(event, "committed", deadline=5)
    incident = str(ack.incident)
    alarm = await line(world, incident, "alarm_raised")
    assert alarm["data"]["cause"] == "nobody_answered"
    await state(world, incident, "unanswered", deadline=2)
    await pendant.heard(event, "waiting", deadline=2)
    first_round = await timeline(world, incident)
    everybody = ["busy", "declines", "nowhere", "never", "duty"]
    assert parties(first_round, "target_dialled") == everybody
    outcomes = {
        one["data"]["target"]: one["data"]["outcome"]
        for one in first_round
        if one["what"] == "target_failed"
    }
    assert outcomes == {
        "busy": "busy",
        "declines": "declined",
        "nowhere": "unreachable",
        "never": "no_answer",
        "duty": "no_answer",
    }
    dialled = {one["data"]["target"]: one for one in first_round if one["what"] == "target_dialled"}
    at = {name: moment(one["at"]) for name, one in dialled.items()}
    report(dialled_s={name: round(when - at["busy"], 2) for name, when in at.items()})
    assert at["never"] - at["busy"] < 1.0, "three who say no at once cost no ringing time"
    assert RING_S <= at["duty"] - at["never"] < RING_S + 1.0
    after = await sample(world, "onekey_operator_alarms_total", cause="nobody_answered")
    assert after == alarms + 1
    await line(world, incident, "target_dialled", nth=len(everybody) + 1, deadline=5)
    await state(world, incident, "alerting", deadline=2)
    again = parties(await timeline(world, incident), "target_dialled")
    assert again[len(everybody)] == "busy", "the whole chain from its start"
    await close(world, incident)
    await pendant.heard(event, "closed", deadline=5)


async def test_the_first_of_those_rung_together_gets_it_and_the_others_stop_ringing(
    world: World,
) -> None:
    pendant, never, duty = world.pendants["P-0002"], world.agents["never"], world.agents["duty"]
    since = {phone.name: len(phone.events) for phone in (never, duty)}
    event = pendant.press("service")
    _, ack = await pendant.heard(event, "answered", deadline=10)
    incident = str(ack.incident)
    for phone in (never, duty):
        ending = await phone.wait("ending", deadline=5, since=since[phone.name])
        assert ending.data["method"] == "CANCEL"
        await phone.wait("gone", deadline=5, since=since[phone.name])
    (shown,) = [one for one in await items(world, "calls") if one["incident"] == incident]
    assert [leg["party"] for leg in shown["legs"]] == ["quick"]
    told = await world.incident(incident)
    assert told["incident"]["answered_by"] == "quick"
    assert sorted(parties(told["timeline"], "target_dialled")) == ["duty", "never", "quick"]
    await close(world, incident)

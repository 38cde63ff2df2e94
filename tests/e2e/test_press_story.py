"""What becomes of a press, an alarm and of everything else that arrives on the topics."""

import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from ulid import ULID

from protocols.mqtt_payload.topics import Up, up_topic
from protocols.mqtt_payload.v1 import Alarm, Cancel, Press, encode
from sim.broker import MESSAGE_SIZE_LIMIT
from sim.options import AGENT_TONE_HZ, AgentSpec, WorldOptions
from sim.pendant import Pendant
from sim.phone import Behaviour
from sim.polling import poll
from sim.settings import CSV_COLUMNS
from sim.world import World
from tests.e2e.stage import (
    close,
    line,
    moment,
    of_terminal,
    publisher,
    sample,
    sample_becomes,
    state,
    timeline,
    whats,
)
from tests.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

REFUSED = "onekey_messages_refused_total"
EVENTS = "onekey_events_received_total"
OPTIONS = WorldOptions(
    terminals=12,
    pendants=1,
    agents=(AgentSpec(behaviour=Behaviour(answer_after_s=0.2, tone_hz=AGENT_TONE_HZ)),),
    repeat_s=1.0,
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with World(tmp_path_factory.mktemp("story"), OPTIONS) as world:
        yield world
    assert world.leftovers == []


async def terminal(world: World, number: int) -> Pendant:
    """Return a terminal without a voice; each test has its own."""
    known = world.pendants.get(f"P-{number:04d}")
    return known or await world.new_pendant(f"P-{number:04d}", voice=False)


async def pressed(pendant: Pendant) -> tuple[str, str]:
    """Press SOS; returns event and incident once it is committed."""
    event = pendant.press("sos")
    _, ack = await pendant.heard(event, "committed", deadline=5)
    assert ack.incident is not None
    return event, ack.incident


async def test_a_press_is_told_from_commit_to_closure_and_a_second_joins(world: World) -> None:
    pendant, agent = world.pendants["P-0001"], world.agents["agent-1"]
    event, incident = await pressed(pendant)
    for word in ("ringing", "answered"):
        await pendant.heard(event, word, deadline=5)
    again, joined = await pressed(pendant)
    assert joined == incident
    await line(world, incident, "bridged")
    agent.hang_up()
    await state(world, incident, "wrap_up")
    await close(world, incident)
    for one in (event, again):
        await pendant.heard(one, "closed", deadline=5)
    states = [ack.state for _, ack in pendant.acks(event)]
    assert list(dict.fromkeys(states)) == ["committed", "ringing", "answered", "closed"]
    told = [ack.state for _, ack in pendant.acks(again)]
    assert told == ["committed", "answered", "closed"], "the second press is told where it stands"
    shown = await world.incident(incident)
    assert shown["incident"]["presses"] == 2
    assert shown["incident"]["outcome"] == "test"
    steps = whats(shown["timeline"])
    order = ["press_received", "routed", "target_dialled", "target_answered", "bridged", "closed"]
    places = [steps.index(step) for step in order]
    assert "press_again" in steps
    assert places == sorted(places), steps


async def test_a_cancelled_press_stays_open_for_the_agent_to_judge(world: World) -> None:
    pendant = await terminal(world, 2)
    event, incident = await pressed(pendant)
    cancel = Cancel(id=str(ULID()), of=event)
    pendant.send(cancel)
    await pendant.heard(cancel.id, "committed", deadline=5)
    said = await line(world, incident, "press_cancelled")
    assert said["data"]["cancels"] == event
    await pendant.heard(event, "answered", deadline=5)
    await state(world, incident, "answered")
    await close(world, incident)


async def test_a_stranger_is_shown_in_quarantine_and_an_agent_is_rung(world: World) -> None:
    before = await sample(world, "onekey_events_unknown_terminal_total")
    stranger = await world.new_pendant("X-0001", voice=False)
    event, incident = await pressed(stranger)
    await stranger.heard(event, "answered", deadline=5)
    await state(world, incident, "answered")  # told at once, committed behind the voice
    (shown,) = await of_terminal(world, "X-0001")
    assert shown["id"] == incident
    assert shown["flags"] == ["quarantine"]
    assert shown["answered_by"] == "agent-1"
    assert await sample(world, "onekey_events_unknown_terminal_total") == before + 1
    await close(world, incident)


async def test_a_late_press_opens_as_delayed_with_both_times(world: World) -> None:
    pendant = await terminal(world, 3)
    begun = time.time()
    pendant.send(Press(id=str(ULID()), key="sos", ts=round((begun - 600) * 1000)))
    (shown,) = await poll(lambda: of_terminal(world, "P-0003"), "the incident", deadline=5)
    assert shown["flags"] == ["delayed"]
    assert moment(shown["pressed_at"]) == pytest.approx(begun - 600, abs=0.01)
    assert begun - 0.01 < moment(shown["received_at"]) < begun + 5
    first = await line(world, shown["id"], "press_received")
    assert first["data"]["pressed_at"] == pytest.approx(begun - 600, abs=0.01)
    await close(world, shown["id"])


async def test_nobody_can_press_under_another_terminals_name(world: World) -> None:
    forger = await terminal(world, 4)
    victim = up_topic("P-0005", Up.EVENT)
    async with publisher(world, "P-0004") as client:
        await client.publish(victim, encode(Press(id=str(ULID()), key="sos")), 1)
    own = Alarm(id=str(ULID()), alarm="low_battery")
    forger.send(own)
    await forger.heard(own.id, "committed", deadline=5)  # what came before it has been judged
    assert await of_terminal(world, "P-0005") == []
    assert await of_terminal(world, "P-0004") == []


async def test_an_id_that_comes_again_opens_nothing_and_is_acknowledged_again(
    world: World,
) -> None:
    pendant = await terminal(world, 6)
    duplicates = await sample(world, EVENTS, driver="mqtt", type="press", outcome="duplicate")
    event, incident = await pressed(pendant)

    def told(times: int) -> bool:
        return sum(ack.state == "committed" for _, ack in pendant.acks(event)) >= times

    async with publisher(world, "P-0006") as client:
        for times in (2, 3):
            await client.publish(up_topic("P-0006", Up.EVENT), pendant.presses[event].payload, 1)
            await wait_until(partial(told, times), deadline=5)
    assert {ack.incident for _, ack in pendant.acks(event)} == {incident}
    assert len(await of_terminal(world, "P-0006")) == 1
    assert (await world.incident(incident))["incident"]["presses"] == 1
    after = await sample(world, EVENTS, driver="mqtt", type="press", outcome="duplicate")
    assert after == duplicates + 2
    await close(world, incident)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param(b'{"type":"press","id":"' + b"\xff" * 970 + b'"}', "not_utf8", id="not utf-8"),
        pytest.param(b"x" * 1000, "not_json", id="no json"),
        pytest.param(b'{"a":' * 200, "not_json", id="cut off"),
        pytest.param(b'{"type":"press","id":"a","key":7}', "wrong_shape", id="shape"),
        pytest.param(b'{"type":"explode","id":"a"}', "unknown_type", id="type"),
        pytest.param(b" " * (MESSAGE_SIZE_LIMIT - 1), "too_large", id="huge"),
    ],
)
async def test_garbage_is_counted_and_the_press_behind_it_is_taken(
    world: World, payload: bytes, reason: str
) -> None:
    before = await sample(world, REFUSED, driver="mqtt", reason=reason)
    pendant = await terminal(world, 7)
    async with publisher(world, "P-0007") as client:
        await client.publish(up_topic("P-0007", Up.EVENT), payload, 1)
        await sample_becomes(world, REFUSED, before + 1, driver="mqtt", reason=reason)
    quiet = Alarm(id=str(ULID()), alarm="low_battery")
    pendant.send(quiet)
    await pendant.heard(quiet.id, "committed", deadline=5)
    assert await sample(world, REFUSED, driver="mqtt", reason=reason) == before + 1
    assert await of_terminal(world, "P-0007") == []


async def test_an_exercise_rings_nobody_without_a_rule_for_exercises(
    world: World, tmp_path: Path
) -> None:
    row = dict.fromkeys(CSV_COLUMNS, "") | {
        "id": "T-0001", "kind": "kiosk", "driver": "mqtt", "training": "true", "language": "zh-CN",
    }  # fmt: skip
    file = tmp_path / "training.csv"
    file.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n", "utf-8")
    await world.gateway.command("terminals", "import", str(file))

    async def known() -> bool:
        return (await world.http("GET", "/api/v1/terminals/T-0001")).status == 200

    await poll(known, "the running daemon to learn of T-0001", deadline=15)
    invites = len([one for one in world.agents["agent-1"].events if one.what == "invite"])
    pendant = await world.new_pendant("T-0001", voice=False)
    _, incident = await pressed(pendant)
    routed = await line(world, incident, "routed")
    assert routed["data"]["flow"] == "none"
    shown = await world.incident(incident)
    assert shown["incident"]["flags"] == ["training"]
    assert shown["incident"]["state"] == "open"
    assert shown["calls"] == []
    after = len([one for one in world.agents["agent-1"].events if one.what == "invite"])
    assert after == invites
    await close(world, incident)


async def test_a_fall_opens_a_quiet_alarm_does_not_an_unmapped_one_is_shown(world: World) -> None:
    pendant = await terminal(world, 8)
    quiet = Alarm(id=str(ULID()), alarm="low_battery")
    pendant.send(quiet)
    _, ack = await pendant.heard(quiet.id, "committed", deadline=5)
    assert ack.incident is None
    assert await of_terminal(world, "P-0008") == []
    for alarm, code in (("fall", ""), ("maker_specific", "0x5A")):
        event = Alarm(id=str(ULID()), alarm=alarm, code=code)
        pendant.send(event)
        _, ack = await pendant.heard(event.id, "committed", deadline=5)
        (shown,) = [one for one in await of_terminal(world, "P-0008") if not one["closed_at"]]
        assert (shown["id"], shown["kind"], shown["event"]) == (ack.incident, alarm, "alarm")
        first = (await timeline(world, shown["id"]))[0]
        assert (first["data"]["alarm"], first["data"]["code"]) == (alarm, code)
        await line(world, shown["id"], "target_dialled")
        await close(world, shown["id"])

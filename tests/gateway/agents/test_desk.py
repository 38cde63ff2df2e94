import asyncio
from dataclasses import replace

import pytest

from drivers.api.errors import StoreUnavailable
from drivers.api.ids import CallId
from gateway.agents.book import UnknownAgent
from gateway.agents.desk import register
from gateway.agents.model import AgentId, Cause, Offer, OfferOutcome
from gateway.agents.states import AgentState, NotAllowed
from tests.gateway.agents.conftest import (
    ANNA,
    BERT,
    C1,
    C2,
    CARL,
    CASE,
    CONFIG,
    EVERYBODY,
    Room,
    open_room,
)
from tests.waiting import wait_until

S = AgentState


async def test_a_new_agent_is_offline_and_nobody_is_offered_a_call(room: Room) -> None:
    assert [view.agent.id for view in room.desk.view()] == [ANNA, BERT, CARL]
    assert {view.standing.state for view in room.desk.view()} == {S.OFFLINE}
    assert await room.pick() is None
    assert room.count("onekey_agents", state="offline", group="sos") == 2


async def test_a_call_goes_from_offer_to_ready_again(room: Room) -> None:
    await room.logged_in(ANNA)
    offer = await room.drawn()
    assert offer == Offer(
        agent=ANNA, version=3, call=C1, incident=CASE, label="Anna",
        uri="sip:2001@edge.test", ring_s=20,
    )  # fmt: skip
    assert room.at(ANNA).state is S.OFFERED
    assert await room.desk.answered(offer)
    assert await room.desk.answered(offer), "twice is no error"
    assert (room.at(ANNA).state, room.at(ANNA).incident) == (S.BUSY, CASE)
    assert await room.desk.ended(offer)
    assert not await room.desk.ended(offer)
    assert (room.at(ANNA).state, room.at(ANNA).call) == (S.WRAP_UP, None)
    assert room.at(ANNA).incident == CASE, "what she writes down is shown"
    await room.later(CONFIG.wrap_up_s - 1)
    assert room.at(ANNA).state is S.WRAP_UP
    await room.later(1)
    assert (room.at(ANNA).state, room.at(ANNA).incident) == (S.READY, None)
    assert room.count("onekey_agent_offers_total", outcome="answered") == 1


async def test_the_longest_idle_is_first_whatever_was_before(room: Room) -> None:
    await room.logged_in(BERT, ANNA)
    first, second = await room.drawn(), await room.drawn(C2)
    assert (first.agent, second.agent) == (BERT, ANNA)
    assert await room.pick(CallId("c3")) is None
    for offer in (second, first):
        await room.desk.answered(offer)
        await room.desk.ended(offer)
        room.clock.now += 1
    await room.desk.ready(ANNA)
    room.clock.now += 1
    await room.desk.ready(BERT)
    assert (await room.drawn(CallId("c3"))).agent == ANNA


async def test_a_lower_rank_comes_first_and_static_agents_are_rung_elsewhere(room: Room) -> None:
    await room.logged_in(CARL, ANNA)
    assert (await room.drawn(group="service")).agent == ANNA
    offer = await room.drawn(group="service")
    assert (offer.agent, offer.uri) == (CARL, "sip:carl@192.0.2.7")


async def test_excluded_and_disabled_agents_are_left_out(room: Room) -> None:
    await room.logged_in(ANNA, BERT)
    assert (await room.pick(exclude=(ANNA, BERT))) is None
    assert (await room.drawn()).agent == ANNA
    await register(room.database, room.clock, [replace(EVERYBODY[1], enabled=False)])
    assert await room.pick(C2) is None
    await room.later(1)
    assert (room.at(BERT).state, room.at(BERT).cause) == (S.OFFLINE, Cause.DISABLED)
    with pytest.raises(NotAllowed, match="disabled"):
        await room.desk.log_in(BERT)


async def test_all_who_are_ready_may_be_rung_together(room: Room) -> None:
    await room.logged_in(ANNA, BERT)
    offers = await room.desk.pick_all("sos", call=C1, incident=None, most=5)
    assert [offer.agent for offer in offers] == [ANNA, BERT]
    assert await room.desk.answered(offers[1])
    assert await room.desk.missed(offers[0], OfferOutcome.WITHDRAWN)
    assert room.at(ANNA).state is S.READY
    assert (await room.drawn(C2)).agent == ANNA, "who lost the race is not punished"


async def test_a_missed_offer_bars_the_agent_for_the_gap(room: Room) -> None:
    await room.logged_in(ANNA)
    assert await room.desk.missed(await room.drawn(), OfferOutcome.UNREACHABLE)
    assert room.at(ANNA).state is S.READY
    assert room.desk.drawable_in("sos") == 0
    room.available.clear()
    assert await room.pick() is None
    await room.later(CONFIG.reoffer_gap_s - 1)
    assert await room.pick() is None
    assert room.available == []
    await room.later(1)
    assert room.available == [frozenset({"sos", "service"})]
    assert (await room.drawn()).agent == ANNA


async def test_two_missed_offers_in_a_row_pause_the_agent(room: Room) -> None:
    await room.logged_in(ANNA)
    for _ in range(2):
        await room.desk.missed(await room.drawn(), OfferOutcome.NO_ANSWER)
        room.clock.now += CONFIG.reoffer_gap_s
    assert (room.at(ANNA).state, room.at(ANNA).cause) == (S.PAUSED, Cause.MISSED)
    assert await room.pick() is None
    assert room.count("onekey_agent_offers_total", outcome="no_answer") == 2
    await room.desk.ready(ANNA)
    await room.desk.missed(await room.drawn(), OfferOutcome.BUSY)
    assert room.at(ANNA).state is S.READY, "the count began anew"


async def test_an_answer_between_forgives_and_a_missed_agent_goes_to_the_end(room: Room) -> None:
    await room.logged_in(ANNA, BERT)
    await room.desk.missed(await room.drawn(), OfferOutcome.DECLINED)
    room.clock.now += CONFIG.reoffer_gap_s
    offer = await room.drawn()
    assert offer.agent == BERT
    offer = await room.talking(C2)
    assert offer.agent == ANNA
    assert room.at(ANNA).missed == 0


@pytest.mark.parametrize(
    "outcome", [OfferOutcome.ANSWERED, OfferOutcome.EXPIRED, OfferOutcome.LOST]
)
async def test_an_offer_does_not_end_with_any_word(room: Room, outcome: OfferOutcome) -> None:
    await room.logged_in(ANNA)
    offer = await room.drawn()
    with pytest.raises(ValueError, match=outcome.value):
        await room.desk.missed(offer, outcome)


async def test_an_answered_call_cannot_be_missed(room: Room) -> None:
    await room.logged_in(ANNA)
    offer = await room.talking()
    with pytest.raises(NotAllowed):
        await room.desk.missed(offer, OfferOutcome.NO_ANSWER)
    assert room.at(ANNA).state is S.BUSY


async def test_an_old_offer_moves_nothing(room: Room) -> None:
    await room.logged_in(ANNA)
    old = await room.drawn()
    await room.desk.missed(old, OfferOutcome.WITHDRAWN)
    new = await room.drawn()
    assert not await room.desk.answered(old)
    assert not await room.desk.missed(old, OfferOutcome.NO_ANSWER)
    assert not await room.desk.ended(old)
    assert room.at(ANNA).state is S.OFFERED
    assert await room.desk.answered(new)


async def test_a_call_that_ends_frees_all_its_agents(room: Room) -> None:
    await room.logged_in(ANNA, BERT, CARL)
    await room.talking()
    ringing = await room.drawn()
    assert {offer.agent for offer in await room.desk.offers_of(C1)} == {ANNA, BERT}
    assert ringing in await room.desk.offers_of(C1)
    assert await room.desk.release(C1) == 2
    assert [room.at(one).state for one in (ANNA, BERT)] == [S.WRAP_UP, S.READY]
    assert await room.desk.offers_of(C1) == []
    assert await room.desk.release(C1) == 0


async def test_commands_say_in_which_state_they_failed(room: Room) -> None:
    with pytest.raises(NotAllowed) as caught:
        await room.desk.pause(ANNA)
    assert caught.value.state is S.OFFLINE
    with pytest.raises(NotAllowed):
        await room.desk.ready(ANNA)
    await room.logged_in(ANNA)
    with pytest.raises(NotAllowed):
        await room.desk.log_in(ANNA)
    with pytest.raises(UnknownAgent):
        await room.desk.log_in(AgentId("nobody"))
    with pytest.raises(ValueError, match="busy"):
        await room.desk.set_state(ANNA, S.BUSY)


async def test_a_state_asked_for_twice_is_no_error(room: Room) -> None:
    for wanted in (S.OFFLINE, S.READY, S.READY, S.PAUSED, S.PAUSED, S.READY, S.OFFLINE):
        view = await room.desk.set_state(ANNA, wanted, "午休\n")
        assert (view.standing.state, room.at(ANNA).state) == (wanted, wanted)
    assert room.at(ANNA).reason == "午休"


async def test_who_logs_out_in_a_call_cannot_be_drawn_into_another(room: Room) -> None:
    await room.logged_in(ANNA)
    offer = await room.talking()
    await room.desk.log_out(ANNA)
    assert (room.at(ANNA).state, room.at(ANNA).call) == (S.OFFLINE, C1)
    with pytest.raises(NotAllowed, match="has not ended"):
        await room.desk.log_in(ANNA)
    await room.later(60)
    assert room.at(ANNA).call == C1, "the call lives"
    assert await room.desk.ended(offer)
    await room.desk.log_in(ANNA)
    assert room.at(ANNA).state is S.READY


async def test_who_logs_out_while_it_rings_and_answers_keeps_the_call(room: Room) -> None:
    await room.logged_in(ANNA)
    offer = await room.drawn()
    await room.desk.log_out(ANNA)
    assert room.count("onekey_agent_offers_total", outcome="withdrawn") == 1
    assert await room.desk.answered(offer)
    assert (room.at(ANNA).state, room.at(ANNA).call) == (S.OFFLINE, C1)
    await room.desk.release(C1)
    assert (room.at(ANNA).state, room.at(ANNA).call) == (S.OFFLINE, None)


async def test_log_in_needs_the_phone_to_be_registered(room: Room) -> None:
    room.desk.registrations(["2002"])
    with pytest.raises(NotAllowed, match="not registered"):
        await room.desk.log_in(ANNA)
    await room.logged_in(BERT, CARL)


async def test_a_lost_registration_takes_out_and_brings_back(room: Room) -> None:
    room.desk.registrations(["2001", "2002"])
    await room.logged_in(ANNA, BERT)
    room.desk.registrations(["2002"])
    assert (await room.drawn()).agent == BERT, "not drawn even before the sweep"
    await room.later(1)
    assert (room.at(ANNA).state, room.at(ANNA).cause) == (S.OFFLINE, Cause.REGISTRATION_LOST)
    room.desk.registrations(["2001", "2002"])
    await room.later(1)
    assert (room.at(ANNA).state, room.at(ANNA).cause) == (S.READY, Cause.NONE)


async def test_a_registration_that_flaps_while_it_rings_does_not_lose_the_answer(
    room: Room,
) -> None:
    room.desk.registrations(["2001"])
    await room.logged_in(ANNA)
    offer = await room.drawn()
    for _ in range(3):
        room.desk.registrations([])
        await room.later(1)
        assert room.at(ANNA).state is S.OFFLINE
        room.desk.registrations(["2001"])
        await room.later(1)
        assert room.at(ANNA).state is S.OFFLINE, "its phone still rings: no second call"
    assert await room.desk.answered(offer)
    assert room.at(ANNA).state is S.BUSY
    assert room.count("onekey_agent_offers_total", outcome="lost") == 1
    await room.desk.ended(offer)
    assert room.at(ANNA).state is S.WRAP_UP


async def test_a_lost_phone_that_did_not_answer_returns_when_the_offer_ended(room: Room) -> None:
    room.desk.registrations(["2001"])
    await room.logged_in(ANNA)
    offer = await room.drawn()
    room.desk.registrations([])
    await room.later(1)
    assert await room.desk.missed(offer, OfferOutcome.UNREACHABLE)
    assert (room.at(ANNA).state, room.at(ANNA).call) == (S.OFFLINE, None)
    room.desk.registrations(["2001"])
    await room.later(1)
    assert room.at(ANNA).state is S.READY


async def test_who_logged_out_or_paused_is_not_brought_back(room: Room) -> None:
    room.desk.registrations(["2001", "2002"])
    await room.logged_in(ANNA, BERT)
    await room.desk.pause(BERT)
    room.desk.registrations([])
    await room.later(1)
    await room.desk.log_out(ANNA)
    room.desk.registrations(["2001", "2002"])
    await room.later(1)
    assert [room.at(one).state for one in (ANNA, BERT)] == [S.OFFLINE, S.PAUSED]


async def test_a_call_survives_the_registration_and_wrap_up_ends_offline(room: Room) -> None:
    room.desk.registrations(["2001"])
    await room.logged_in(ANNA)
    offer = await room.talking()
    room.desk.registrations([])
    await room.later(40)
    assert room.at(ANNA).state is S.BUSY
    await room.desk.ended(offer)
    await room.later(CONFIG.wrap_up_s)
    assert (room.at(ANNA).state, room.at(ANNA).cause) == (S.OFFLINE, Cause.REGISTRATION_LOST)


async def test_a_new_daemon_that_knows_no_registrations_yet_moves_nobody(
    room: Room, other: Room
) -> None:
    room.desk.registrations(["2001"])
    await room.logged_in(ANNA)
    await other.later(3)
    assert other.at(ANNA).state is S.READY
    room.desk.registrations([])
    await room.later(1)
    await other.later(3)
    assert other.at(ANNA).state is S.OFFLINE


async def test_a_living_call_keeps_its_agent_and_an_idle_sweep_writes_nothing(room: Room) -> None:
    await room.logged_in(ANNA)
    await room.talking()
    await room.later(100)
    assert room.at(ANNA).state is S.BUSY
    version = room.at(ANNA).version
    await room.later(1)
    await room.later(1)
    assert room.at(ANNA).version <= version + 1, "a renewal holds for seconds"


async def test_a_call_that_died_unheard_frees_its_agent(room: Room) -> None:
    await room.logged_in(ANNA)
    await room.talking()
    room.living.clear()
    await room.later(CONFIG.lease_s + 1)
    assert room.at(ANNA).state is S.WRAP_UP
    await room.later(CONFIG.wrap_up_s)
    assert room.at(ANNA).state is S.READY


async def test_an_offer_that_was_forgotten_ends_though_the_call_lives(room: Room) -> None:
    await room.logged_in(ANNA)
    offer = await room.drawn()
    await room.later(CONFIG.offer_s)
    assert room.at(ANNA).state is S.OFFERED
    await room.later(2 * CONFIG.lease_s + 2)
    assert room.at(ANNA).state is S.READY
    assert not await room.desk.answered(offer)
    assert room.count("onekey_agent_offers_total", outcome="expired") == 1


async def test_a_daemon_that_vanished_frees_its_agents_by_the_clock(
    room: Room, other: Room
) -> None:
    await room.logged_in(ANNA, BERT)
    await room.talking()
    await room.drawn(C2)
    await other.later(CONFIG.lease_s - 3)
    assert [other.at(one).state for one in (ANNA, BERT)] == [S.BUSY, S.OFFERED]
    await other.later(4)
    assert [other.at(one).state for one in (ANNA, BERT)] == [S.WRAP_UP, S.READY]


async def test_the_next_daemon_adopts_living_calls(store_url: str, room: Room) -> None:
    await room.logged_in(ANNA)
    offer = await room.talking()
    again = await open_room(store_url, room.clock)  # the same instance, started anew
    room.clock.now += 5
    again.living.add(C1)
    await again.later(60)
    assert again.at(ANNA).state is S.BUSY
    assert await again.desk.offers_of(C1) == [offer]
    assert await again.desk.ended(offer)
    assert again.at(ANNA).state is S.WRAP_UP
    await again.database.stop()


async def test_another_daemon_adopts_a_call_only_when_the_lease_is_over(
    room: Room, other: Room
) -> None:
    await room.logged_in(ANNA)
    await room.talking()
    other.living.add(C1)
    await other.later(1)
    assert other.at(ANNA).owner == "one"
    await other.later(CONFIG.lease_s)
    assert (other.at(ANNA).owner, other.at(ANNA).state) == ("two", S.BUSY)


async def test_a_clock_set_back_does_not_keep_an_agent(room: Room) -> None:
    await room.logged_in(ANNA, BERT)
    offer = await room.talking()
    await room.desk.missed(await room.drawn(C2), OfferOutcome.NO_ANSWER)
    await room.desk.ended(offer)
    room.clock.now -= 86_400
    await room.later(1)
    assert room.at(ANNA).state is S.READY
    assert await room.pick(C1) is not None
    assert await room.pick(C2) is not None


async def test_only_one_of_two_daemons_gets_an_agent(room: Room, other: Room) -> None:
    await room.logged_in(ANNA)
    rooms = (room, other)
    found = await asyncio.gather(*(rooms[n % 2].pick(CallId(f"call-{n}")) for n in range(20)))
    assert len([offer for offer in found if offer is not None]) == 1


@pytest.mark.parametrize("rounds", [5])
async def test_racing_daemons_share_out_the_agents(room: Room, other: Room, rounds: int) -> None:
    await room.logged_in(ANNA, BERT)
    for turn in range(rounds):
        calls = [CallId(f"c-{turn}-{n}") for n in range(6)]
        found = await asyncio.gather(
            *((room, other)[n % 2].pick(call) for n, call in enumerate(calls))
        )
        offers = [offer for offer in found if offer is not None]
        assert sorted(offer.agent for offer in offers) == [ANNA, BERT]
        ends = [(room, other)[n % 2].desk.release(call) for n, call in enumerate(calls)]
        assert sum(await asyncio.gather(*ends)) == 2


async def test_of_two_daemons_that_free_an_agent_one_does(room: Room, other: Room) -> None:
    await room.logged_in(ANNA)
    offer = await room.talking()
    done = await asyncio.gather(room.desk.ended(offer), other.desk.ended(offer))
    assert sorted(done) == [False, True]


async def test_what_another_daemon_did_is_seen(room: Room, other: Room) -> None:
    await room.logged_in(ANNA)
    await other.desk.sweep()
    assert other.at(ANNA).state is S.READY
    assert other.available == [frozenset({"sos", "service"})]
    assert other.count("onekey_agents", state="ready", group="sos") == 1


async def test_run_hears_of_registrations_at_once_and_outlives_the_store(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.desk.registrations(["2001"])
    await room.logged_in(ANNA)
    failures = 0
    load = room.desk.load

    async def failing() -> None:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise StoreUnavailable("locked")
        await load()

    monkeypatch.setattr(room.desk, "load", failing)
    running = asyncio.create_task(room.desk.run())
    await wait_until(lambda: failures >= 2)
    room.desk.registrations([])
    await wait_until(lambda: room.at(ANNA).state is S.OFFLINE)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_groups_count_enabled_agents_and_strangers_are_other(room: Room) -> None:
    stray = replace(EVERYBODY[0], id=AgentId("stray"), sip_user="x", groups={"gone": 0})
    await register(room.database, room.clock, [stray])
    await room.logged_in(ANNA, AgentId("stray"))
    await room.desk.load()
    sos, service = room.desk.groups()
    assert (sos.agents[S.READY], sos.agents[S.OFFLINE]) == (1, 1)
    assert (service.label, service.agents[S.OFFLINE]) == ("服务", 1)
    assert room.count("onekey_agents", state="ready", group="other") == 1
    assert room.desk.drawable_in("sos") == 1


async def test_an_import_replaces_groups_and_keeps_the_state(room: Room) -> None:
    await room.logged_in(ANNA)
    await register(
        room.database, room.clock, [replace(EVERYBODY[0], groups={"service": 2}, label="A")]
    )
    await room.desk.load()
    view = room.desk.show(ANNA)
    assert view is not None
    assert (view.agent.label, view.agent.groups) == ("A", {"service": 2})
    assert view.standing.state is S.READY


async def test_who_is_not_there_is_not_shown(room: Room) -> None:
    assert room.desk.show(AgentId("nobody")) is None
    assert room.desk.drawable_in("nobody") == 0

"""Calls offered to agents of groups: which leg is whose, and what the agent desk is told."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, Protocol

import structlog

from drivers.api.errors import WaistError
from drivers.api.ids import CallId, IncidentId
from drivers.api.legs import LegOutcome
from gateway.agents.model import Offer, OfferOutcome
from gateway.agents.states import NotAllowed

log = structlog.get_logger()

OUTCOMES: Final = {
    LegOutcome.BUSY: OfferOutcome.BUSY,
    LegOutcome.DECLINED: OfferOutcome.DECLINED,
    LegOutcome.NO_ANSWER: OfferOutcome.NO_ANSWER,
    LegOutcome.UNREACHABLE: OfferOutcome.UNREACHABLE,
    LegOutcome.FAILED: OfferOutcome.FAILED,
    LegOutcome.LOST: OfferOutcome.WITHDRAWN,  # our worker's fault, not the agent's
    LegOutcome.CANCELLED: OfferOutcome.WITHDRAWN,
    LegOutcome.COMPLETED: OfferOutcome.WITHDRAWN,
}


class Agents(Protocol):
    """The agent desk, as a call uses it; all raise StoreUnavailable."""

    async def pick(self, group: str, *, call: CallId, incident: IncidentId | None) -> Offer | None:
        """Offer a call to the agent of `group` who has been idle longest."""
        ...

    async def answered(self, offer: Offer) -> bool:
        """Note that the agent took the call."""
        ...

    async def missed(self, offer: Offer, outcome: OfferOutcome) -> bool:
        """End an offer that was not taken."""
        ...

    async def ended(self, offer: Offer) -> bool:
        """Note that the agent's part in the call is over."""
        ...

    def drawable_in(self, group: str) -> int:
        """Return how many agents of a group could be offered a call now."""
        ...


class Offers:
    """The offers of one call. Telling the desk never delays the call."""

    def __init__(self, agents: Agents | None, call: CallId, incident: IncidentId) -> None:
        self._agents = agents
        self._call = call
        self._incident = incident
        self._open: dict[str, Offer] = {}
        self._taken: set[str] = set()
        self._errands: set[asyncio.Task[None]] = set()

    async def draw(self, leg: str, group: str) -> Offer | None:
        """Return whom to ring as `leg`; None when nobody of the group is free."""
        if self._agents is None:
            return None
        try:
            offer = await self._agents.pick(group, call=self._call, incident=self._incident)
        except WaistError as error:
            log.warning("no_offer", call=self._call, group=group, error=str(error))
            return None
        if offer is not None:
            self._open[leg] = offer
        return offer

    def answered(self, leg: str) -> None:
        """Tell that a leg's agent answered."""
        offer = self._open.get(leg)
        if offer is not None and self._agents is not None:
            self._taken.add(leg)
            self._tell(self._agents.answered(offer))

    def over(self, leg: str, outcome: LegOutcome, *, by_us: bool = False) -> None:
        """Tell that a leg has ended, whatever it was."""
        offer = self._open.pop(leg, None)
        if offer is None or self._agents is None:
            return
        if leg in self._taken:
            self._tell(self._agents.ended(offer))
        else:
            told = OfferOutcome.WITHDRAWN if by_us and outcome is not LegOutcome.NO_ANSWER else None
            self._tell(self._agents.missed(offer, told or OUTCOMES[outcome]))

    def all_over(self) -> None:
        """Tell that no leg lives any more."""
        for leg in list(self._open):
            self.over(leg, LegOutcome.LOST)

    async def told(self) -> None:
        """Return when the desk knows all."""
        while self._errands:
            await asyncio.wait(self._errands)

    def _tell(self, work: Coroutine[Any, Any, bool]) -> None:
        errand = asyncio.create_task(self._try(work))
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)

    async def _try(self, work: Coroutine[Any, Any, bool]) -> None:
        try:
            await work
        except (WaistError, NotAllowed) as error:  # the lease puts the agent right
            log.warning("agent_desk_not_told", call=self._call, error=str(error))

"""Calls that come to us: who calls, which key that is, and which worker takes it.

A one-key phone's key is a call to `sos`, `hospital`, … at our edge. It walks the pipeline like any
other press; the edge is told where to send it only after the commit.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from drivers.api.clock import Clock
from drivers.api.edge import (
    MessageAnswer,
    MessageQuestion,
    RouteAnswer,
    RouteQuestion,
    RouteRefused,
    RouteTo,
)
from drivers.api.errors import StoreUnavailable
from drivers.api.events import AnyTerminalEvent, KeyPressed, Receipt
from drivers.api.ids import CallId, EventId, IncidentId, TerminalId
from gateway.config import CallersConfig
from gateway.metrics import Metrics
from protocols.text import clean_text

log = structlog.get_logger()

# The edge waits one second in all; the commit and the way there need the rest.
PLACE_S: Final = 0.7
# A busy call centre has an agent free within half a minute more often than not.
RETRY_AFTER_S: Final = 30
DRIVER: Final = "sip"


class Accounts(Protocol):
    """SIP accounts."""

    def ha1(self, user: str) -> str | None:
        """Return the digest secret of a user who may log in."""
        ...

    def terminal_of(self, user: str) -> TerminalId | None:
        """Return the terminal that a user is."""
        ...

    def agent_of(self, user: str) -> str | None:
        """Return the agent that a user is."""
        ...


class Place(Protocol):
    """Where a call is expected."""

    @property
    def call(self) -> CallId:
        """Return the call's id."""
        ...

    @property
    def contact(self) -> str:
        """Return the worker's "address:port"."""
        ...


class Calls(Protocol):
    """Running calls."""

    async def place(self, incident: IncidentId, *, deadline_s: float) -> Place | None:
        """Return where the caller's own call must go; None when there is no room in time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerParts:
    """What the callers' desk works with."""

    config: CallersConfig
    realm: str
    accounts: Accounts
    take: Callable[[str, AnyTerminalEvent], Awaitable[Receipt]]  # the pipeline
    calls: Calls
    message: Callable[[MessageQuestion], Awaitable[MessageAnswer]]
    metrics: Metrics
    clock: Clock


class Callers:
    """Implements drivers.api.edge.EdgeHandler."""

    def __init__(self, parts: CallerParts) -> None:
        self._p = parts

    async def ha1(self, user: str) -> str | None:
        """Return the digest secret of a user."""
        return self._p.accounts.ha1(user)

    async def message(self, question: MessageQuestion) -> MessageAnswer:
        """Answer a MESSAGE."""
        return await self._p.message(question)

    async def route(self, question: RouteQuestion) -> RouteAnswer:
        """Say where a call goes; what it raises leaves the decision to the edge."""
        if question.user and self._p.accounts.agent_of(question.user) is not None:
            answer = self._of_agent(question)
        else:
            answer = await self._of_terminal(question)
        self._p.metrics.callers.labels(_verdict(answer)).inc()
        return answer

    def _of_agent(self, question: RouteQuestion) -> RouteAnswer:
        """Let agents call each other; whom else they call goes through the cases."""
        other = question.to_user
        if self._p.accounts.agent_of(other) is None:
            return RouteRefused(code=404, reason="no such agent")
        return RouteTo(uri=f"sip:{other}@{self._p.realm}")

    async def _of_terminal(self, question: RouteQuestion) -> RouteAnswer:
        key = self._p.config.keys.get(question.to_user)
        if key is None:
            return RouteRefused(code=404, reason="no such key")
        event = KeyPressed(
            terminal=self._caller(question),
            event_id=event_id(question.call_id),
            received_at=self._p.clock.time(),
            key=key,
            calling=True,
        )
        try:
            receipt = await self._p.take(DRIVER, event)
        except StoreUnavailable as error:  # voice does not wait for us: the edge knows whom to ring
            log.error("caller_not_committed", terminal=event.terminal, error=str(error))  # noqa: TRY400 (the store has logged its trace)
            raise
        return await self._placed(receipt)

    async def _placed(self, receipt: Receipt) -> RouteAnswer:
        incident = receipt.incident
        place = await self._p.calls.place(incident, deadline_s=PLACE_S) if incident else None
        if place is None:
            log.warning("caller_without_room", incident=incident)
            return RouteRefused(code=503, reason="no line free", retry_after_s=RETRY_AFTER_S)
        return RouteTo(uri=f"sip:{place.contact}", call=place.call)

    def _caller(self, question: RouteQuestion) -> TerminalId:
        """Return who calls: by registration, else by the number that a trunk vouches for."""
        name = question.user or question.from_user
        known = self._p.accounts.terminal_of(name)
        if known is not None:
            return known
        return TerminalId(f"unknown-{_safe(name)}")


def event_id(call_id: str) -> EventId:
    """Return the event of a call: one INVITE that is asked about twice is one press."""
    return EventId("sip-" + hashlib.sha256(call_id.encode()).hexdigest()[:32])


def _safe(name: str) -> str:
    kept = "".join(c for c in clean_text(name, limit=40) if c.isascii() and c.isalnum())
    return kept or "caller"


def _verdict(answer: RouteAnswer) -> str:
    return "refused" if isinstance(answer, RouteRefused) else "routed"

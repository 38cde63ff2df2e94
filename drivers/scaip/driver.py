"""Social alarms that speak SCAIP: alarms as SIP MESSAGE, answered after the commit.

The driver has no socket: the SIP edge receives the MESSAGE and asks `ScaipDriver.message`. A
device repeats until it hears `snu` 0, so nothing is retried here.
"""

import asyncio
from collections import OrderedDict
from typing import Any, Final

import structlog

from drivers.api.commands import Command
from drivers.api.driver import Capabilities, DriverContext
from drivers.api.errors import TransientError, Unsupported
from drivers.api.events import Refusal
from drivers.api.ids import EventId, TerminalId
from drivers.scaip.config import ScaipConfig
from drivers.scaip.mapping import (
    CONTENT_TYPES,
    ScaipAnswer,
    ScaipEvent,
    device_calls,
    event_id_of,
    response,
    taken,
    terminal_of,
    to_event,
    to_telemetry,
)
from protocols.scaip.meaning import Kind, Meaning, meaning_of
from protocols.scaip.messages import Answer, Request, ScaipRefused, Status, decode_request
from protocols.text import clean_text

log = structlog.get_logger()

LINK: Final = "scaip.edge"
# A cancel names no press: it means the terminal's last one. 10,000 terminals are about 2 MB.
LAST_PRESSES: Final = 10_000
UNKNOWN_PRESS: Final = EventId("scaip-unknown")


class ScaipDriver:
    """Takes what the edge receives; implements drivers.api.driver.Driver."""

    def __init__(self, config: ScaipConfig) -> None:
        self._config = config
        self._ctx: DriverContext | None = None
        self._in_flight = 0
        self._last: OrderedDict[TerminalId, EventId] = OrderedDict()

    @property
    def capabilities(self) -> Capabilities:
        """Return what these devices can do: they are rung, and say no more than alarms."""
        return Capabilities()

    async def run(self, ctx: DriverContext) -> None:
        """Take messages until cancelled."""
        self._ctx = ctx
        ctx.link(LINK, up=True)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._ctx = None
            ctx.link(LINK, up=False)

    async def send(self, terminal: TerminalId, command: Command) -> None:
        """Raise Unsupported: the protocol has no way to a device but the answer and the call."""
        if self._ctx is None:
            raise TransientError("the driver does not run")
        raise Unsupported(f"SCAIP devices know no {type(command).__name__} ({terminal})")

    async def message(self, user: str, content_type: str, body: str) -> ScaipAnswer:
        """Return the response to a MESSAGE of `user`, who has proved who it is; never raises.

        A 2xx carries the protocol's answer, whose `snu` is 0 only after the commit.
        """
        ctx = self._ctx
        if ctx is None:
            return ScaipAnswer(code=503, reason="Service Unavailable")
        if content_type.partition(";")[0].strip().lower() not in CONTENT_TYPES:
            ctx.refused(TerminalId(user), Refusal.UNKNOWN_TYPE, clean_text(content_type))
            return ScaipAnswer(code=415, reason="Unsupported Media Type")
        raw = body.encode(errors="replace")
        try:
            request = decode_request(raw)
        except ScaipRefused as error:
            ctx.refused(TerminalId(user), Refusal(error.reason.value), clean_text(error.detail))
            answer = Answer(ref=error.ref, status=error.status, text=error.detail)
            return response(answer, error.root, user, self._config)
        terminal = terminal_of(user, request, self._config.relays)
        if terminal is None:
            ctx.refused(None, Refusal.WRONG_SHAPE, "the sender is no terminal")
            return ScaipAnswer(code=403, reason="Forbidden")
        answer = await self._take(ctx, terminal, request, raw)
        return response(answer, request.root, user, self._config)

    async def _take(
        self, ctx: DriverContext, terminal: TerminalId, request: Request, raw: bytes
    ) -> Answer:
        meaning, now = meaning_of(request), ctx.clock.time()
        if meaning.kind is Kind.ALIVE:
            ctx.telemetry([to_telemetry(terminal, request, received_at=now)])
            return taken(request, meaning, self._config)
        if self._in_flight >= self._config.max_in_flight:
            ctx.refused(terminal, Refusal.FLOOD, "too many messages wait for their commit")
            return Answer(ref=request.ref, status=Status.BUSY)
        event = to_event(
            terminal,
            request,
            meaning,
            event_id=event_id_of(request, raw, received_at=now),
            received_at=now,
            cancels=self._last.get(terminal, UNKNOWN_PRESS),
            calling=device_calls(request, meaning, self._config),
        )
        self._remember(event, meaning)
        status = await self._commit(ctx, event)
        if status is not Status.OK:
            return Answer(ref=request.ref, status=status)
        return taken(request, meaning, self._config)

    async def _commit(self, ctx: DriverContext, event: ScaipEvent) -> Status:
        self._in_flight += 1
        try:
            async with asyncio.timeout(self._config.submit_timeout_s):
                await ctx.submit(event)
        except (TransientError, TimeoutError) as error:
            log.warning("event_not_committed", terminal=event.terminal, reason=repr(error))
            return Status.NOT_TREATED
        except Exception:
            log.exception("event_broke_the_gateway", terminal=event.terminal)
            ctx.refused(event.terminal, Refusal.INTERNAL, "the gateway failed on it")
            return Status.NOT_TREATED
        finally:
            self._in_flight -= 1
        return Status.OK

    def _remember(self, event: ScaipEvent, meaning: Meaning) -> None:
        """Keep the press that a cancel would mean, committed or not: the device repeats it."""
        if meaning.kind is Kind.CANCEL:
            return
        self._last[event.terminal] = event.event_id
        self._last.move_to_end(event.terminal)
        while len(self._last) > LAST_PRESSES:
            self._last.popitem(last=False)


def create(section: dict[str, Any]) -> ScaipDriver:
    """Return a driver for its config section; raises pydantic.ValidationError."""
    return ScaipDriver(ScaipConfig.model_validate(section))

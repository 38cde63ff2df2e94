"""The driver to copy: JSON lines over TCP on a loopback port.

What it shows, and what the contract suite (tests/contract) holds every driver to:

1. `config.py`: typed settings with a reason for each default; `create` validates the section.
2. `mapping.py`: bytes in, events out, pure; whatever a peer sends ends in an event or DecodeError.
3. This file: sockets and tasks. A press is answered only after `ctx.submit` returned; while the
   store is away it is offered again and the peer waits. Garbage is refused with a reason and a
   count, lines and connections are bounded, every wait has a deadline, every task an owner.

To make a driver of your own: copy the folder, put the codec of your wire format into `protocols/`,
add a line to `drivers/registry.py` (or the entry point `onekey.drivers` in a package of yours) and
a harness to `tests/contract`.

A conversation, `>` from the terminal::

    > {"type":"hello","terminal":"T-1"}
    > {"type":"press","id":"e1","key":"sos"}
    < {"type":"received","id":"e1"}
    < {"type":"state","id":"e1","state":"ringing"}
"""

import asyncio
from contextlib import suppress
from typing import Any

import structlog

from drivers._template.config import TemplateConfig
from drivers._template.mapping import (
    Beat,
    Hello,
    Press,
    decode,
    encode_command,
    encode_received,
    to_press,
    to_telemetry,
)
from drivers.api.commands import Command
from drivers.api.driver import Capabilities, DriverContext
from drivers.api.errors import TransientError
from drivers.api.events import AnyTerminalEvent, Refusal
from drivers.api.ids import TerminalId
from protocols.errors import DecodeError, DecodeReason
from protocols.text import clean_text

log = structlog.get_logger()

LINK = "template.listener"
RETRY_FIRST_S = 0.2
RETRY_LONGEST_S = 5.0


class TemplateDriver:
    """Listens, and keeps one session per connection."""

    def __init__(self, config: TemplateConfig) -> None:
        self._config = config
        self._connections = 0
        self._writers: dict[TerminalId, asyncio.StreamWriter] = {}

    @property
    def capabilities(self) -> Capabilities:
        """Return what these terminals can do."""
        return Capabilities(display=True)

    async def run(self, ctx: DriverContext) -> None:
        """Serve until cancelled; raises OSError when the port is taken."""
        config = self._config
        async with asyncio.TaskGroup() as sessions:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                sessions.create_task(self._session(ctx, reader, writer), name="template-session")

            server = await asyncio.start_server(
                accept, config.host, config.port, limit=config.max_line
            )
            ctx.link(LINK, up=True)
            try:
                await server.serve_forever()
            finally:
                server.close()
                ctx.link(LINK, up=False)

    async def send(self, terminal: TerminalId, command: Command) -> None:
        """Write a command; raises Unsupported, or TransientError when the terminal is not there."""
        line = encode_command(command)
        writer = self._writers.get(terminal)
        if writer is None:
            raise TransientError("the terminal is not connected")
        await self._write(writer, line)

    async def _session(
        self, ctx: DriverContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._connections += 1
        try:
            if self._connections > self._config.max_connections:
                ctx.refused(None, Refusal.FLOOD, "too many connections")
                return
            await _Session(self, ctx, reader, writer).run()
        except (TransientError, TimeoutError, ConnectionError) as error:
            log.info("template_session_ended", reason=repr(error))
        finally:
            self._connections -= 1
            for terminal in [name for name, own in self._writers.items() if own is writer]:
                del self._writers[terminal]
            writer.close()
            # The peer may be gone, or slow to take our last words.
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(self._config.write_timeout_s):
                    await writer.wait_closed()

    async def _write(self, writer: asyncio.StreamWriter, line: bytes) -> None:
        try:
            writer.write(line)
            async with asyncio.timeout(self._config.write_timeout_s):
                await writer.drain()
        except (ConnectionError, TimeoutError) as error:
            writer.transport.abort()
            raise TransientError("the terminal does not take what we write") from error


class _Session:
    """One connection: a hello, then presses and beats, in order."""

    def __init__(
        self,
        driver: TemplateDriver,
        ctx: DriverContext,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._driver = driver
        self._config = driver._config  # noqa: SLF001 - two halves of one driver
        self._ctx = ctx
        self._reader = reader
        self._writer = writer
        self._terminal: TerminalId | None = None
        self._refusals = 0

    async def run(self) -> None:
        """Serve until the peer leaves, is silent too long or sends too much rubbish."""
        while self._refusals < self._config.max_refusals:
            try:
                line = await self._next_line()
                if line is None:
                    return
                await self._take(line)
            except DecodeError as error:
                self._refusals += 1
                self._ctx.refused(
                    self._terminal, Refusal(error.reason.value), clean_text(error.detail)
                )
                if error.reason is DecodeReason.TOO_LARGE:
                    return  # where the next line begins is unknown

    async def _next_line(self) -> bytes | None:
        try:
            async with asyncio.timeout(self._config.idle_s):
                line = await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise DecodeError(DecodeReason.NOT_JSON, "cut off") from error
            return None
        except asyncio.LimitOverrunError as error:
            raise DecodeError(
                DecodeReason.TOO_LARGE, f"more than {self._config.max_line} bytes"
            ) from error
        return line[:-1]

    async def _take(self, line: bytes) -> None:
        message = decode(line)
        now = self._ctx.clock.time()
        if isinstance(message, Hello):
            self._terminal = TerminalId(message.terminal)
            self._driver._writers[self._terminal] = self._writer  # noqa: SLF001 - see above
        elif self._terminal is None:
            raise DecodeError(DecodeReason.WRONG_SHAPE, "no hello yet")
        elif isinstance(message, Beat):
            self._ctx.telemetry([to_telemetry(self._terminal, message, received_at=now)])
        elif isinstance(message, Press):
            event = to_press(self._terminal, message, received_at=now)
            await self._commit(event)
            await self._driver._write(self._writer, encode_received(event.event_id))  # noqa: SLF001

    async def _commit(self, event: AnyTerminalEvent) -> None:
        wait_s = RETRY_FIRST_S
        while True:
            try:
                async with asyncio.timeout(self._config.submit_timeout_s):
                    await self._ctx.submit(event)
            except (TransientError, TimeoutError) as error:
                log.warning("event_not_committed", terminal=event.terminal, reason=repr(error))
            else:
                return
            await asyncio.sleep(wait_s)
            wait_s = min(RETRY_LONGEST_S, wait_s * 2)


def create(section: dict[str, Any]) -> TemplateDriver:
    """Return a driver for its config section; raises pydantic.ValidationError."""
    return TemplateDriver(TemplateConfig.model_validate(section))

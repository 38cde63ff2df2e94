"""The gateway's side of the SIP border: accounts, agents, callers, and freeing dead calls."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Final

import structlog

from drivers.api.clock import Clock
from drivers.api.edge import Edge, EdgeUnavailable, MessageAnswer, MessageQuestion, Registration
from drivers.api.ids import CallId
from gateway.accounts.desk import AccountDesk
from gateway.accounts.model import AccountChanged
from gateway.agents.desk import AgentDesk
from gateway.config import Settings
from gateway.metrics import Metrics
from gateway.store.database import Database

log = structlog.get_logger()

AGAIN_S: Final = 1.0


class Border:
    """Keeps edge, accounts and agents true to each other. Without an edge it has nobody to tell."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        metrics: Metrics,
        clock: Clock,
        *,
        realm: str,
        living: Callable[[], Collection[CallId]],
    ) -> None:
        self._edge: Edge | None = None
        self._changes: asyncio.Queue[AccountChanged] = asyncio.Queue()
        self.accounts = AccountDesk(database, clock, realm, self._changes.put_nowait)
        self.agents = AgentDesk(
            database,
            clock,
            metrics,
            settings.agents,
            settings.routing.groups,
            instance=settings.instance,
            domain=realm,
            living=living,
        )

    async def load(self) -> None:
        """Read accounts and agents; raises StoreUnavailable."""
        await self.accounts.load()
        await self.agents.load()

    def attach(self, edge: Edge) -> None:
        """Use an edge from now on."""
        self._edge = edge
        edge.watch(self._registered)

    def problem(self) -> str:
        """Return what is wrong with the edge, for readiness; "" when nothing is."""
        return "" if self._edge is not None and self._edge.healthy else "the edge does not answer"

    async def free_parties(self, worker: str) -> None:
        """End what the parties of a dead worker still take for a call; raises EdgeUnavailable."""
        if self._edge is not None:
            await self._edge.end_dialogs(worker)

    async def message(self, question: MessageQuestion) -> MessageAnswer:
        """Refuse a MESSAGE: nobody here reads text yet (RFC 3428 §7, 415)."""
        log.info("message_refused", user=question.user)
        return MessageAnswer(code=415, reason="Unsupported Media Type")

    async def run(self) -> None:
        """Tell the edge of accounts made, changed and revoked, until cancelled."""
        while True:
            change = await self._changes.get()
            while self._edge is not None:
                try:
                    await self._tell(self._edge, change)
                    break
                except EdgeUnavailable as error:
                    log.warning("account_not_pushed", user=change.user, error=str(error))
                    await asyncio.sleep(AGAIN_S)

    async def _tell(self, edge: Edge, change: AccountChanged) -> None:
        if change.ha1 is None:
            await edge.revoke(change.user)
        else:
            await edge.push_credentials(change.user, change.ha1)

    def _registered(self, registrations: Sequence[Registration]) -> None:
        self.agents.registrations({one.user for one in registrations})

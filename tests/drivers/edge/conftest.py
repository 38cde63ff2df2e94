"""A real Kamailio on free ports, with a handler that answers as a test says."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.api.edge import (
    MessageAnswer,
    MessageQuestion,
    RouteAnswer,
    RouteQuestion,
    RouteRefused,
)
from drivers.edge.config import EdgeConfig
from drivers.edge.edge import KamailioEdge
from tests.drivers.edge.peer import REALM, ha1
from tests.waiting import free_port

PASSWORDS = {"phone": "secret", "agent": "secret2", "1001": "secret3"}


class Handler:
    """EdgeHandler with a script."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.routes: list[RouteQuestion] = []
        self.messages: list[MessageQuestion] = []
        self.answers: list[RouteAnswer] = []
        self.hangs = False
        self.passwords = dict(PASSWORDS)

    async def ha1(self, user: str) -> str | None:
        self.asked.append(user)
        if self.hangs:
            await asyncio.sleep(30)
        known = self.passwords.get(user)
        return None if known is None else ha1(user, known)

    async def route(self, question: RouteQuestion) -> RouteAnswer:
        self.routes.append(question)
        if self.hangs:
            await asyncio.sleep(30)
        return self.answers.pop(0) if self.answers else RouteRefused(code=404, reason="No Script")

    async def message(self, question: MessageQuestion) -> MessageAnswer:
        self.messages.append(question)
        return MessageAnswer(code=200, content_type="application/scaip+xml", body="<mrs>é</mrs>")


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def config(tmp_path: Path) -> EdgeConfig:
    if shutil.which("kamailio") is None and not Path("/usr/sbin/kamailio").exists():
        pytest.skip("kamailio is not installed (scripts/setup.sh test)")
    return EdgeConfig(
        run_dir=tmp_path / "edge",
        realm=REALM,
        port=free_port(),
        internal_port=free_port(),
        control_port=free_port(),
        poll_s=0.2,
    )


@asynccontextmanager
async def running(config: EdgeConfig, handler: Handler) -> AsyncIterator[KamailioEdge]:
    edge = KamailioEdge(config, handler)
    edge.end_at_exit = True
    async with edge:
        yield edge


@pytest.fixture
async def edge(config: EdgeConfig, handler: Handler) -> AsyncIterator[KamailioEdge]:
    async with running(config, handler) as edge:
        yield edge


def with_static(config: EdgeConfig, port: int) -> EdgeConfig:
    """Return `config` with the static call centre at `port`."""
    return replace(config, static_sos_uri=f"sip:centre@127.0.0.1:{port}")

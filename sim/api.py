"""The gateway's HTTP API and feed, as a program uses them."""

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

FEED_PATH = "/api/v1/feed"
# A snapshot with a thousand open incidents and their lines.
FEED_MESSAGE_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `text` is decoded as the gateway declared it."""

    status: int
    text: str

    def json(self) -> Any:
        """Return the body as JSON; raises ValueError when it is none."""
        return json.loads(self.text)


class Api:
    """One client session. Errors of the connection are aiohttp.ClientError or TimeoutError."""

    def __init__(self, base: str, *, token: str = "", deadline_s: float = 10.0) -> None:
        """Take the address, such as `http://127.0.0.1:8080`, and the bearer token if any."""
        self.base = base
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        timeout = aiohttp.ClientTimeout(total=deadline_s)
        self._session = aiohttp.ClientSession(base, headers=headers, timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()

    async def request(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None
    ) -> Response:
        """Ask; returns whatever status the gateway answers with."""
        async with self._session.request(method, path, json=body) as answer:
            return Response(answer.status, await answer.text())

    async def feed(self) -> AsyncGenerator[Mapping[str, Any], None]:
        """Yield the feed's messages, the snapshot first; ends when the gateway closes it."""
        async with self._session.ws_connect(
            FEED_PATH, max_msg_size=FEED_MESSAGE_MAX, heartbeat=15, timeout=_NO_READ_DEADLINE
        ) as socket:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    yield json.loads(message.data)


# Silence is normal on the feed; `heartbeat` notices a dead gateway.
_NO_READ_DEADLINE = aiohttp.ClientWSTimeout(ws_receive=None, ws_close=2.0)

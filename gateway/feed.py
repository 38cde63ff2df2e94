"""The live feed: what changed, to every page that looks on. A slow page never slows the gateway."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import structlog

from gateway.metrics import Metrics

log = structlog.get_logger()

# What encoding may raise for a message that is no JSON: an unknown type, a lone surrogate, an
# integer beyond 64 bits, a structure that contains itself.
UNENCODABLE: Final = (TypeError, ValueError, OverflowError, RecursionError)


class Subscription:
    """One page's queue of encoded messages; ends when the page lagged too far."""

    def __init__(self, queue_max: int) -> None:
        self._queue: deque[bytes] = deque()
        self._queue_max = queue_max
        self._news = asyncio.Event()
        self.cut = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Return the next message as JSON; the iteration ends when the subscriber was cut."""
        while not self._queue:
            if self.cut:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._queue.popleft()

    def offer(self, payload: bytes) -> bool:
        """Queue a message; False when there is no room: the subscriber is cut."""
        if len(self._queue) >= self._queue_max:
            # What is queued is of no use to a page that must reload anyway.
            self._queue.clear()
            self.cut = True
        else:
            self._queue.append(payload)
        self._news.set()
        return not self.cut


class Feed:
    """Takes messages from the gateway's parts and hands them to every subscriber."""

    def __init__(self, metrics: Metrics, queue_max: int) -> None:
        """`queue_max`: messages a subscriber may lag behind before it is cut."""
        self._metrics = metrics
        self._queue_max = queue_max
        self._subscribers: set[Subscription] = set()

    @property
    def watched(self) -> bool:
        """Tell whether anybody looks on, so that nobody gathers news for an empty room."""
        return bool(self._subscribers)

    def publish(self, message: Mapping[str, object]) -> None:
        """Offer `message` to every subscriber; encodes it once, never blocks, never raises.

        Values may be anything msgspec encodes as JSON. A message that is no JSON is a defect of its
        sender: it is logged and not sent, because a page must not stop the path of a press.
        """
        if not self._subscribers:
            return
        try:
            payload = msgspec.json.encode(message)
        except UNENCODABLE as exc:
            log.error("feed_message_unencodable", type=message.get("type"), detail=str(exc))  # noqa: TRY400 (the trace is msgspec's own)
            return
        for subscriber in [s for s in self._subscribers if not s.offer(payload)]:
            self._subscribers.discard(subscriber)
            self._metrics.feed_cut.inc()
            log.warning("feed_subscriber_cut", queue_max=self._queue_max)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Subscription]:
        """Yield a subscription to everything published from now on."""
        subscription = Subscription(self._queue_max)
        self._subscribers.add(subscription)
        self._metrics.feed_clients.inc()
        try:
            yield subscription
        finally:
            self._subscribers.discard(subscription)
            self._metrics.feed_clients.dec()

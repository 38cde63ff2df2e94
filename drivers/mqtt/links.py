"""Keeping a connection: connect, serve, lose it, wait with back-off and jitter, again."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from drivers.api.driver import DriverContext

log = structlog.get_logger()

# A connection that lived this long was a good one: the next wait starts small again.
GOOD_AFTER_S = 5.0
# So many shorter lives in a row are no accident. The usual cause is a second process with our
# client id; mosquitto 2.0 closes without saying so, others give reason code 142.
FLAPPING_AFTER = 3


class LinkLost(Exception):
    """A connection could not be made or has ended. `reason` is for the log."""

    def __init__(self, reason: str, *, taken_over: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.taken_over = taken_over


class Backoff:
    """Waits that double from `first_s` to `longest_s`, each shortened by up to a half at random."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def reset(self) -> None:
        """Start small again."""
        self._next_s = self._first_s

    def jump(self) -> None:
        """Make the next wait the longest."""
        self._next_s = self._longest_s

    def next(self) -> float:
        """Return the seconds to wait now."""
        wait_s = self._next_s
        self._next_s = min(self._longest_s, wait_s * 2)
        return wait_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing


async def keep_linked(
    name: str,
    serve: Callable[[Callable[[], None]], Awaitable[None]],
    ctx: DriverContext,
    backoff: Backoff,
) -> None:
    """Run `serve` again and again until cancelled, and report the state of the link as `name`.

    `serve` connects, calls its argument once it is subscribed, and raises LinkLost at the end.
    """
    ups: list[float] = []  # when the present connection came up, if it did
    short_lives = 0

    def up() -> None:
        ups.append(ctx.clock.monotonic())
        ctx.link(name, up=True)
        log.info("mqtt_link_up", link=name)

    ctx.link(name, up=False)
    try:
        while True:
            ups.clear()
            lost = await _until_lost(serve, up)
            ctx.link(name, up=False)
            if ups and ctx.clock.monotonic() - ups[0] >= GOOD_AFTER_S:
                backoff.reset()
                short_lives = 0
            elif ups:
                short_lives += 1
            flapping = lost.taken_over or short_lives >= FLAPPING_AFTER
            await asyncio.sleep(_announce(name, lost, backoff, flapping=flapping))
    finally:
        ctx.link(name, up=False)


async def _until_lost(
    serve: Callable[[Callable[[], None]], Awaitable[None]], up: Callable[[], None]
) -> LinkLost:
    try:
        await serve(up)
    except LinkLost as error:
        return error
    except OSError as error:  # a password file that is not there (yet)
        return LinkLost(str(error))
    return LinkLost("ended")


def _announce(name: str, lost: LinkLost, backoff: Backoff, *, flapping: bool) -> float:
    if flapping:
        # Two processes with one client id would throw each other out for ever.
        backoff.jump()
        log.error("mqtt_link_flapping", link=name, cure="own client_id_prefix per replica")
    wait_s = backoff.next()
    log.warning("mqtt_link_down", link=name, reason=lost.reason, retry_in_s=round(wait_s, 2))
    return wait_s

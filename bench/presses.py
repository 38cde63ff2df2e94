"""Presses at a rate, from one terminal each, and what came of them."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ulid import ULID

from bench.load import Load
from protocols.mqtt_payload.topics import Up, up_topic
from protocols.mqtt_payload.v1 import Press, encode
from sim.options import terminal_id
from sim.polling import poll

DEADLINE_S = 20.0


@dataclass(slots=True)
class Presses:
    """Times by event id (perf_counter); `incidents`: event id → incident."""

    sent: dict[str, float] = field(default_factory=dict)
    acked: dict[str, float] = field(default_factory=dict)
    incidents: dict[str, str] = field(default_factory=dict)

    def heard(self, at: float, _topic: str, payload: bytes) -> None:
        """Note a first `committed`."""
        ack = json.loads(payload)
        if ack["state"] == "committed" and ack["id"] not in self.acked:
            self.acked[ack["id"]] = at
            self.incidents[ack["id"]] = ack["incident"]

    def ack_s(self) -> list[float]:
        """Return the seconds from publish to acknowledgement."""
        return [at - self.sent[event] for event, at in self.acked.items()]

    def invite_s(self, invites: dict[str, float]) -> list[float]:
        """Return the seconds from publish to INVITE, of those that came."""
        return [
            invites[incident] - self.sent[event]
            for event, incident in self.incidents.items()
            if incident in invites
        ]

    async def all_acked(self) -> None:
        """Wait until every press is acknowledged; raises TimeoutError."""
        await _until(lambda: len(self.acked) == len(self.sent), "all acknowledgements")


async def press(
    load: Load, numbers: Sequence[int], *, per_second: float, others: Sequence[Load] = ()
) -> Presses:
    """Let each of the terminals press once, evenly at that rate; returns when all are sent.

    Acknowledgements are heard on `load`; `others` share the publishing.
    """
    presses = Presses()
    load.heard = presses.heard
    loads = (load, *others)
    begun = time.perf_counter()
    for index, number in enumerate(numbers):
        wait_s = begun + index / per_second - time.perf_counter()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        event = Press(id=str(ULID()), key="sos")
        payload = encode(event)
        presses.sent[event.id] = time.perf_counter()
        loads[index % len(loads)].publish(up_topic(terminal_id(number), Up.EVENT), payload)
    return presses


async def _until(true: Callable[[], bool], what: str) -> None:
    async def look() -> bool:
        return true()

    await poll(look, what, deadline=DEADLINE_S)

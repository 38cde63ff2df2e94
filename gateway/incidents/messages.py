"""What is published when an incident has changed, for the live feed."""

from dataclasses import dataclass

from gateway.incidents.model import Entry, Incident


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentMessage:
    """An incident after a committed change, with the lines that the change added.

    `first_line` is the number of the first of `entries` in the timeline (from 1): a reader who
    misses a number asks for the timeline again.
    """

    incident: Incident
    entries: tuple[Entry, ...]
    first_line: int
    opened: bool = False

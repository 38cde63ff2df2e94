"""Identifiers. All are plain strings on the wire; the types keep them from being mixed up."""

from typing import NewType

TerminalId = NewType("TerminalId", str)
EventId = NewType("EventId", str)
IncidentId = NewType("IncidentId", str)
CallId = NewType("CallId", str)  # one run of a flow for one incident; an incident may have several
LegId = NewType("LegId", str)  # unique for ever: "<call id>.<n>"

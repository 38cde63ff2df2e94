"""The few SIP header names that a call of ours carries. Values must be clean text."""

from typing import Final

from drivers.api.ids import IncidentId

# Ours: joins the agent's screen, the edge's log and the timeline.
INCIDENT: Final = "X-Onekey-Incident"
PRIORITY: Final = ("Priority", "emergency")  # RFC 3261 §20.26
# Two ways in use to ask a telephone to answer by itself: the first by Snom, Yealink, Grandstream
# and Linphone's family (RFC 7462 names the parameter), the second by Polycom, Cisco and others.
AUTO_ANSWER: Final = (
    ("Alert-Info", "<http://127.0.0.1>;info=alert-autoanswer;delay=0"),
    ("Call-Info", "<sip:127.0.0.1>;answer-after=0"),
)

Headers = tuple[tuple[str, str], ...]


def for_target(incident: IncidentId, *, emergency: bool) -> Headers:
    """Return the headers of a call to an agent."""
    own = ((INCIDENT, incident),)
    return (*own, PRIORITY) if emergency else own


def for_terminal(incident: IncidentId) -> Headers:
    """Return the headers of a call to the terminal itself, which asks it to answer."""
    return (*AUTO_ANSWER, (INCIDENT, incident))

"""The open incidents in memory: no more than the gauges need."""

from collections import Counter
from collections.abc import Iterable

from drivers.api.clock import Clock
from drivers.api.ids import IncidentId
from gateway.incidents.model import Incident
from gateway.incidents.states import IncidentState
from gateway.metrics import Metrics

_WAITING = frozenset({IncidentState.OPEN, IncidentState.ALERTING, IncidentState.UNANSWERED})


class OpenBoard:
    """Keeps `incidents_open` and `oldest_unanswered` true."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._open: dict[IncidentId, Incident] = {}
        self._count: Counter[IncidentState] = Counter()
        self._gauge = metrics.incidents_open
        self._clock = clock
        metrics.oldest_unanswered.set_function(self.oldest_unanswered_s)
        self.reset(())

    def reset(self, incidents: Iterable[Incident]) -> None:
        """Forget all and take `incidents`, the open ones."""
        self._open = {incident.id: incident for incident in incidents}
        self._count = Counter(incident.state for incident in self._open.values())
        for state in IncidentState:
            if state is not IncidentState.CLOSED:
                self._show(state)

    def see(self, incident: Incident) -> None:
        """Take an incident after a commit."""
        before = self._open.pop(incident.id, None)
        if before is not None:
            self._count[before.state] -= 1
            self._show(before.state)
        if incident.state is not IncidentState.CLOSED:
            self._open[incident.id] = incident
            self._count[incident.state] += 1
            self._show(incident.state)

    def oldest_unanswered_s(self) -> float:
        """Return the age in seconds of the oldest incident nobody has answered; 0 for none."""
        waiting = [
            incident.received_at
            for incident in list(self._open.values())
            if incident.state in _WAITING and incident.answered_at is None
        ]
        return max(0.0, self._clock.time() - min(waiting)) if waiting else 0.0

    def _show(self, state: IncidentState) -> None:
        self._gauge.labels(state.value).set(self._count[state])

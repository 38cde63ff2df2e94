"""The legs of one call as they live and end: the seed of the CDR and the metrics of legs."""

from dataclasses import asdict, dataclass

from drivers.api.ids import CallId, IncidentId, LegId, TerminalId
from drivers.api.legs import LegEnded, LegOutcome, LegState, StreamStats
from gateway.flows.model import LegView, Role
from gateway.incidents.model import LegRecord
from gateway.metrics import Metrics


@dataclass(slots=True)
class _Line:
    role: Role
    party: str
    state: LegState
    started_at: float
    answered_at: float | None = None


class Ledger:
    """Keeps the living legs of a call. Leg names are the policy's."""

    def __init__(
        self, call: CallId, incident: IncidentId, terminal: TerminalId, metrics: Metrics
    ) -> None:
        self._call = call
        self._incident = incident
        self._terminal = terminal
        self._metrics = metrics
        self._living: dict[str, _Line] = {}

    @property
    def living(self) -> tuple[str, ...]:
        """Return the names of the legs that have not ended."""
        return tuple(self._living)

    def leg_id(self, name: str) -> LegId:
        """Return the unique id of a leg of this call."""
        return LegId(f"{self._call}.{name}")

    def views(self) -> tuple[LegView, ...]:
        """Return the living legs for a page."""
        return tuple(
            LegView(leg=self.leg_id(name), role=x.role, party=x.party, state=x.state)
            for name, x in self._living.items()
        )

    def begin(
        self, name: str, role: Role, party: str, at: float, state: LegState = LegState.DIALLING
    ) -> None:
        """Enter a leg; `party` is a target name, or anything for the terminal."""
        who = str(self._terminal) if role is Role.TERMINAL else party
        answered_at = at if state is LegState.ANSWERED else None
        self._living[name] = _Line(role, who, state, at, answered_at)
        self._metrics.legs_active.labels(role.value).inc()

    def ringing(self, name: str) -> None:
        """Note that a leg rings."""
        line = self._living.get(name)
        if line is not None and line.state is LegState.DIALLING:
            line.state = LegState.RINGING

    def answered(self, name: str, at: float) -> None:
        """Note that a leg answered."""
        line = self._living.get(name)
        if line is not None and line.answered_at is None:
            line.state, line.answered_at = LegState.ANSWERED, at

    def ended(self, name: str, event: LegEnded) -> LegRecord | None:
        """Close a leg; None when it is closed already."""
        return self.close(
            name, event.outcome, event.at, code=event.code, reason=event.reason, stats=event.stats
        )

    def close(
        self,
        name: str,
        outcome: LegOutcome,
        at: float,
        *,
        code: int | None = None,
        reason: str = "",
        stats: StreamStats | None = None,
    ) -> LegRecord | None:
        """Close a leg by what we know of its end; None when it is closed already."""
        line = self._living.pop(name, None)
        if line is None:
            return None
        self._metrics.legs_active.labels(line.role.value).dec()
        self._metrics.legs.labels(line.role.value, outcome.value).inc()
        return LegRecord(
            id=self.leg_id(name),
            call=self._call,
            incident=self._incident,
            role=line.role.value,
            party=line.party,
            started_at=line.started_at,
            answered_at=line.answered_at,
            ended_at=at,
            outcome=outcome.value,
            code=code,
            reason=reason,
            stats=asdict(stats or StreamStats()),
        )

    def abandon(self) -> None:
        """Forget the living legs without closing them: another daemon will."""
        for line in self._living.values():
            self._metrics.legs_active.labels(line.role.value).dec()
        self._living.clear()

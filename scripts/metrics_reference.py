"""Tables of every metric, from the registry that the daemon itself uses."""

from enum import StrEnum

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from drivers.api.events import ReceiptOutcome, Refusal
from drivers.api.legs import LegOutcome
from gateway.agents.model import OfferOutcome
from gateway.agents.states import AgentState
from gateway.flows.model import CallOutcome, Cause, Role
from gateway.incidents.model import Flag, Outcome
from gateway.incidents.states import IncidentState
from gateway.metrics import Metrics
from gateway.store.failures import FailureReason
from gateway.telephony.slot_states import SlotState
from gateway.terminals.model import Presence

SUFFIX = {"counter": "_total"}

# What a label may say, where an enumeration in the code bounds it.
VALUES: dict[tuple[str, str], type[StrEnum]] = {
    ("onekey_incidents_flagged", "flag"): Flag,
    ("onekey_incidents_closed", "outcome"): Outcome,
    ("onekey_incidents_open", "state"): IncidentState,
    ("onekey_operator_alarms", "cause"): Cause,
    ("onekey_calls", "outcome"): CallOutcome,
    ("onekey_legs_active", "role"): Role,
    ("onekey_legs", "role"): Role,
    ("onekey_legs", "outcome"): LegOutcome,
    ("onekey_agents", "state"): AgentState,
    ("onekey_agent_offers", "outcome"): OfferOutcome,
    ("onekey_pool_workers", "state"): SlotState,
    ("onekey_events_received", "outcome"): ReceiptOutcome,
    ("onekey_messages_refused", "reason"): Refusal,
    ("onekey_terminals", "state"): Presence,
    ("onekey_store_errors", "reason"): FailureReason,
}


def all_metrics() -> list[MetricWrapperBase]:
    """Return every metric of the daemon in the order of its declaration."""
    found = vars(Metrics(CollectorRegistry())).values()
    return [metric for metric in found if isinstance(metric, MetricWrapperBase)]


def full_name(metric: MetricWrapperBase) -> str:
    """Return the name that Prometheus shows (without `_bucket` and its like)."""
    described = next(iter(metric.describe()))
    return described.name + SUFFIX.get(described.type, "")


def metrics_tables() -> str:
    """Return one table of all metrics and one of the values their labels may have."""
    rows = ["| metric | type | labels | what it tells |", "|---|---|---|---|"]
    values = ["| metric | label | values |", "|---|---|---|"]
    for metric in all_metrics():
        described = next(iter(metric.describe()))
        labels: tuple[str, ...] = metric._labelnames  # noqa: SLF001 - the library shows them nowhere else
        shown = ", ".join(f"`{label}`" for label in labels)
        name = full_name(metric)
        rows.append(f"| `{name}` | {described.type} | {shown} | {described.documentation} |")
        for label in labels:
            words = VALUES.get((described.name, label))
            if words is not None:
                listed = ", ".join(f"`{word.value}`" for word in words)
                values.append(f"| `{name}` | `{label}` | {listed} |")
    return "\n".join([*rows, "", "### Values of labels", "", *values])

"""Every metric of the daemon, declared once and handed to whoever measures.

Names follow Prometheus (base units, `_total` for counters); label values come from closed sets, so
that no peer can grow the number of series (a test holds the bound).
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# 10, 15, 20, 60 and 180 s are the published answer-time targets (docs/operations.md); the fine
# edges below a second are where our own part of the time lies.
ANSWER_EDGES: Final = (0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 90, 180, 300)
REACTION_EDGES: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 20, 60, 180)
COMMIT_EDGES: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)
BATCH_EDGES: Final = (1, 2, 5, 10, 20, 50, 100, 200)


class Metrics:
    """One object per daemon; tests make their own with their own registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        r = self.registry = registry if registry is not None else CollectorRegistry()
        self._incidents(r)
        self._calls(r)
        self._tasks(r)
        self._intake(r)
        self._inside(r)

    def _incidents(self, r: CollectorRegistry) -> None:
        self.press_ack = Histogram(
            "onekey_press_ack_seconds",
            "From the receipt of a press to its application acknowledgement.",
            buckets=REACTION_EDGES,
            registry=r,
        )
        self.press_invite = Histogram(
            "onekey_press_invite_seconds",
            "From the receipt of a press to the first invitation of a target.",
            buckets=REACTION_EDGES,
            registry=r,
        )
        self.press_answer = Histogram(
            "onekey_press_answer_seconds",
            "From the press (the terminal's clock, where plausible) to the answer of an agent.",
            buckets=ANSWER_EDGES,
            registry=r,
        )
        self.receipt_answer = Histogram(
            "onekey_receipt_answer_seconds",
            "From the receipt of a press to the answer of an agent.",
            buckets=ANSWER_EDGES,
            registry=r,
        )
        self.incidents_opened = Counter(
            "onekey_incidents_opened_total", "Incidents opened.", ["kind"], registry=r
        )
        self.incidents_flagged = Counter(
            "onekey_incidents_flagged_total",
            "Incidents opened with a flag (delayed, quarantine, training).",
            ["flag"],
            registry=r,
        )
        self.incidents_closed = Counter(
            "onekey_incidents_closed_total", "Incidents closed.", ["kind", "outcome"], registry=r
        )
        self.incidents_open = Gauge(
            "onekey_incidents_open", "Incidents not closed, by state.", ["state"], registry=r
        )
        self.oldest_unanswered = Gauge(
            "onekey_incident_oldest_unanswered_seconds",
            "Age of the oldest incident that no agent has answered; 0 if there is none.",
            registry=r,
        )
        self.alarms = Counter(
            "onekey_operator_alarms_total",
            "Times a person had to be alarmed because a flow could not help.",
            ["cause"],
            registry=r,
        )

    def _calls(self, r: CollectorRegistry) -> None:
        self.calls_active = Gauge("onekey_calls_active", "Calls running.", ["flow"], registry=r)
        self.calls = Counter("onekey_calls_total", "Calls ended.", ["flow", "outcome"], registry=r)
        self.legs_active = Gauge("onekey_legs_active", "Legs alive.", ["role"], registry=r)
        self.legs = Counter("onekey_legs_total", "Legs ended.", ["role", "outcome"], registry=r)
        self.callers = Counter(
            "onekey_callers_total",
            "Calls that came to the edge, by what it was told.",
            ["verdict"],
            registry=r,
        )
        self.agents = Gauge(
            "onekey_agents",
            "Enabled agents by state and group; agents of no configured group are in `other`.",
            ["state", "group"],
            registry=r,
        )
        self.offers = Counter(
            "onekey_agent_offers_total",
            "Offers of calls to agents, by end.",
            ["outcome"],
            registry=r,
        )
        self.pool_capacity = Gauge(
            "onekey_pool_legs_capacity", "Legs the running workers can carry.", registry=r
        )
        self.pool_limit = Gauge("onekey_pool_legs_limit", "Legs the pool may grow to.", registry=r)
        self.pool_reserved = Gauge(
            "onekey_pool_legs_reserved", "Legs reserved by calls.", registry=r
        )
        self.pool_workers = Gauge("onekey_pool_workers", "Workers by state.", ["state"], registry=r)
        self.pool_lost = Counter(
            "onekey_pool_workers_lost_total", "Workers that ended unasked.", registry=r
        )
        self.pool_started = Counter(
            "onekey_pool_workers_started_total", "Workers started.", ["result"], registry=r
        )
        self.pool_refused = Counter(
            "onekey_pool_rooms_refused_total",
            "Calls that found no room in the pool.",
            ["priority"],
            registry=r,
        )

    def _tasks(self, r: CollectorRegistry) -> None:
        self.tasks_open = Gauge(
            "onekey_tasks_open", "Call-backs that nobody has made yet.", ["kind"], registry=r
        )
        self.tasks_overdue = Gauge(
            "onekey_tasks_overdue", "Open call-backs whose time has passed.", registry=r
        )
        self.tasks_done = Counter(
            "onekey_tasks_done_total", "Call-backs made or settled.", ["kind"], registry=r
        )

    def _intake(self, r: CollectorRegistry) -> None:
        self.events = Counter(
            "onekey_events_received_total",
            "Events handed over by drivers, by what was done with them.",
            ["driver", "type", "outcome"],
            registry=r,
        )
        self.refused = Counter(
            "onekey_messages_refused_total",
            "Messages that were not understood or not allowed.",
            ["driver", "reason"],
            registry=r,
        )
        self.unknown_terminal = Counter(
            "onekey_events_unknown_terminal_total",
            "Events from terminals that nobody registered.",
            registry=r,
        )
        self.link_up = Gauge(
            "onekey_driver_link_up",
            "1 when a driver's connection stands.",
            ["driver", "link"],
            registry=r,
        )
        self.telemetry = Counter(
            "onekey_telemetry_received_total", "Telemetry messages taken.", ["driver"], registry=r
        )
        self.telemetry_dropped = Counter(
            "onekey_telemetry_dropped_total",
            "Telemetry superseded before it was stored, or of unknown terminals.",
            ["cause"],
            registry=r,
        )
        self.terminals = Gauge(
            "onekey_terminals", "Registered terminals by presence.", ["state"], registry=r
        )
        self.notifications = Counter(
            "onekey_notifications_total",
            "Messages to terminals.",
            ["state", "result"],
            registry=r,
        )
        self.in_flight = Gauge(
            "onekey_pipeline_in_flight", "Events taken but not yet committed.", registry=r
        )

    def _inside(self, r: CollectorRegistry) -> None:
        self.commit = Histogram(
            "onekey_store_commit_seconds",
            "Duration of a group commit.",
            buckets=COMMIT_EDGES,
            registry=r,
        )
        self.batch = Histogram(
            "onekey_store_batch_size", "Writes in one commit.", buckets=BATCH_EDGES, registry=r
        )
        self.store_queue = Gauge(
            "onekey_store_queue_depth", "Writes that wait for the store.", registry=r
        )
        self.store_errors = Counter(
            "onekey_store_errors_total", "Commits that failed.", ["reason"], registry=r
        )
        self.store_up = Gauge("onekey_store_up", "1 when the last commit succeeded.", registry=r)
        self.feed_clients = Gauge("onekey_feed_clients", "Live pages connected.", registry=r)
        self.feed_cut = Counter(
            "onekey_feed_clients_cut_total", "Live pages cut because they lagged.", registry=r
        )
        self.loop_lag = Gauge(
            "onekey_event_loop_lag_seconds", "Lateness of a timer on the event loop.", registry=r
        )
        self.http = Counter(
            "onekey_http_requests_total",
            "HTTP requests by route and class of status.",
            ["route", "status"],
            registry=r,
        )

"""The tables. Times are Unix seconds (UTC), ids are text, JSON is text that msgspec wrote.

A change here needs a numbered migration beside it (gateway/store/migrations/versions); a test
compares the two on both databases.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

# Names by rule, so that a later migration can drop a constraint by its name on both databases.
METADATA: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

TERMINALS: Final = Table(
    "terminals",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("driver", Text, nullable=False),
    Column("sip_uri", Text, nullable=False),
    Column("site", Text),
    Column("subscriber", Text),
    Column("label", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("training", Boolean, nullable=False),
    Column("updated_at", Double, nullable=False),  # by it a daemon finds what others registered
    Index("ix_terminals_updated_at", "updated_at"),
)

# What terminals measured last. Apart from `terminals` and without a foreign key to it, so that an
# import of terminals and the flush of measurements never wait for each other's rows.
TERMINAL_STATUS: Final = Table(
    "terminal_status",
    METADATA,
    Column("terminal", Text, primary_key=True),
    Column("last_seen_at", Double),
    Column("gone", Boolean, nullable=False),  # its will came after its last sign of life
    Column("boot", BigInteger),
    Column("device_time", Double),
    Column("battery", Integer),
    Column("signal_dbm", Integer),
    Column("vitals", Text),
    Column("lat", Double),
    Column("lon", Double),
    Column("accuracy_m", Double),
    Column("datum", Text),
    Column("fix_at", Double),
)

# The journal. `incident` has no foreign key: the event is written before the incident it opens,
# and the journal is kept longer than incidents are.
EVENTS: Final = Table(
    "events",
    METADATA,
    Column("terminal", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("device_time", Double),
    Column("boot", BigInteger),
    Column("incident", Text),
    Column("payload", Text, nullable=False),
    Index("ix_events_incident", "incident"),
)

INCIDENTS: Final = Table(
    "incidents",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("terminal", Text, nullable=False),  # no foreign key: quarantined ones are unknown
    Column("kind", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("state_at", Double, nullable=False),  # when `state` was reached, for the sweeper
    Column("flags", Text, nullable=False),  # sorted, joined by commas
    Column("site", Text),
    Column("event_id", Text, nullable=False),
    Column("pressed_at", Double, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("presses", Integer, nullable=False),
    Column("answered_at", Double),
    Column("answered_by", Text),
    Column("closed_at", Double),
    Column("outcome", Text),
    Column("note", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("lines", Integer, nullable=False),  # of the timeline; the next line's number minus one
    Index("ix_incidents_terminal", "terminal", "id"),
)

# One open incident per terminal, whoever races.
ONE_OPEN: Final = Index(
    "uq_incidents_open_terminal",
    INCIDENTS.c.terminal,
    unique=True,
    sqlite_where=text("closed_at IS NULL"),
    postgresql_where=text("closed_at IS NULL"),
)

TIMELINE: Final = Table(
    "timeline",
    METADATA,
    Column("incident", Text, ForeignKey("incidents.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("source", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("call", Text),
    Column("leg", Text),
    Column("data", Text, nullable=False),
)

CALLS: Final = Table(
    "calls",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("incident", Text, ForeignKey("incidents.id"), nullable=False),
    Column("flow", Text, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("ended_at", Double),
    Column("outcome", Text),
    Index("ix_calls_incident", "incident"),
    Index("ix_calls_ended", "ended_at", "id"),  # the order of the CDR
)

CALLS_RUNNING: Final = Index(
    "ix_calls_running",
    CALLS.c.started_at,
    sqlite_where=text("ended_at IS NULL"),
    postgresql_where=text("ended_at IS NULL"),
)

LEGS: Final = Table(
    "legs",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("call", Text, nullable=False),
    Column("incident", Text, ForeignKey("incidents.id"), nullable=False),
    Column("role", Text, nullable=False),
    Column("party", Text, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("answered_at", Double),
    Column("ended_at", Double, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("code", Integer),
    Column("reason", Text, nullable=False),
    Column("stats", Text, nullable=False),
    Index("ix_legs_incident", "incident"),
)

# Who may register at the edge. Never deleted: a row without `enabled` tells the other processes
# that the account is gone. The password is not kept, only its digest (RFC 2617 §3.2.2.2).
SIP_ACCOUNTS: Final = Table(
    "sip_accounts",
    METADATA,
    Column("user", Text, primary_key=True),
    Column("realm", Text, nullable=False),
    Column("ha1", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("owner", Text),  # id of a terminal or an agent
    Column("enabled", Boolean, nullable=False),
    Column("changed_at", Double, nullable=False),
    Index("ix_sip_accounts_changed_at", "changed_at"),
)

AGENTS: Final = Table(
    "agents",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("label", Text, nullable=False),
    Column("sip_user", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
)

# `group` has no table: groups stand in the configuration.
AGENT_GROUPS: Final = Table(
    "agent_groups",
    METADATA,
    Column("agent", Text, ForeignKey("agents.id"), primary_key=True),
    Column("group", Text, primary_key=True),
    Column("rank", Integer, nullable=False),
    Index("ix_agent_groups_group", "group"),
)

# One row per agent from its import on. Every change raises `version` and names the one before
# (compare and set), so that two daemons cannot both draw the same agent.
AGENT_STATES: Final = Table(
    "agent_states",
    METADATA,
    Column("agent", Text, ForeignKey("agents.id"), primary_key=True),
    Column("state", Text, nullable=False),
    Column("since", Double, nullable=False),
    Column("version", Integer, nullable=False),
    Column("cause", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("idle_since", Double),
    Column("offer_after", Double, nullable=False),
    Column("missed", Integer, nullable=False),
    Column("owner", Text),
    Column("lease_until", Double),
    Column("offer", Integer),
    Column("call", Text),
    Column("incident", Text),
)

# Whom to call back. One task per call, whoever opens it and however often.
TASKS: Final = Table(
    "tasks",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("call", Text, nullable=False),  # no foreign key: calls are kept for a shorter time
    Column("incident", Text, ForeignKey("incidents.id"), nullable=False),
    Column("terminal", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("done_at", Double),
    Column("done_by", Text),
    Column("note", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Index("uq_tasks_call", "call", unique=True),
    Index("ix_tasks_incident", "incident"),
)

TASKS_OPEN: Final = Index(
    "ix_tasks_open",
    TASKS.c.id,
    sqlite_where=text("done_at IS NULL"),
    postgresql_where=text("done_at IS NULL"),
)

# Written and emptied again by the writer to learn whether the store takes writes.
PROBE: Final = Table("probe", METADATA, Column("filler", Text, nullable=False))

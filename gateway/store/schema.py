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

# Written and emptied again by the writer to learn whether the store takes writes.
PROBE: Final = Table("probe", METADATA, Column("filler", Text, nullable=False))

"""Which errors mean that the store failed, and which are the writing function's own."""

import sqlite3
from enum import StrEnum

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

# The statement or its values were wrong; the connection and the transaction's idea are sound.
_OWN = (IntegrityError, DataError, ProgrammingError, NotSupportedError)


class FailureReason(StrEnum):
    """Why a commit failed; closed, a metric label."""

    LOCKED = "locked"
    FULL = "full"
    CONFLICT = "conflict"  # PostgreSQL chose us as the victim of a deadlock
    DISCONNECTED = "disconnected"
    STALLED = "stalled"  # no answer within the deadline
    OTHER = "other"


# https://www.sqlite.org/rescode.html, primary codes
_SQLITE = {
    sqlite3.SQLITE_BUSY: FailureReason.LOCKED,
    sqlite3.SQLITE_LOCKED: FailureReason.LOCKED,
    sqlite3.SQLITE_FULL: FailureReason.FULL,
}
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_SQLSTATE = {
    "55P03": FailureReason.LOCKED,  # lock_not_available
    "53100": FailureReason.FULL,  # disk_full
    "40P01": FailureReason.CONFLICT,  # deadlock_detected
    "40001": FailureReason.CONFLICT,  # serialization_failure
}


def is_store_failure(error: Exception) -> bool:
    """Tell whether the whole transaction is lost with this error."""
    return isinstance(error, (DBAPIError, PoolTimeout)) and not isinstance(error, _OWN)


def reason_of(error: Exception) -> FailureReason:
    """Classify a store failure."""
    if not isinstance(error, DBAPIError):
        return FailureReason.OTHER
    origin = error.orig
    code = getattr(origin, "sqlite_errorcode", None)
    if code is not None:
        return _SQLITE.get(code & 0xFF, FailureReason.OTHER)
    state = getattr(origin, "sqlstate", None)
    if state in _SQLSTATE:
        return _SQLSTATE[state]
    if error.connection_invalidated or state is None:
        return FailureReason.DISCONNECTED
    return FailureReason.OTHER

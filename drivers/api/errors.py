"""Errors at the waist; each says on its class what it means for the caller.

WaistError
├── TransientError        the same call may succeed later
│   ├── StoreUnavailable  nothing was committed: do not acknowledge, try again
│   ├── NoCapacity        no worker has room for the call now
│   └── WorkerGone        the process that carried the call has ended
└── PermanentError        repeating cannot help
    ├── UnknownLeg        the leg has ended or never was
    └── Unsupported       this driver or terminal cannot do that
"""

from typing import ClassVar


class WaistError(Exception):
    """Root of the errors that cross the waist."""

    retryable: ClassVar[bool] = False


class TransientError(WaistError):
    """The same call may succeed later."""

    retryable = True


class StoreUnavailable(TransientError):
    """The store refused or timed out; nothing was committed."""


class NoCapacity(TransientError):
    """No worker has room."""


class WorkerGone(TransientError):
    """The worker process ended, or its socket did."""


class PermanentError(WaistError):
    """Repeating cannot help."""


class UnknownLeg(PermanentError):
    """The leg has ended or never was."""


class Unsupported(PermanentError):
    """This driver or terminal cannot do that."""

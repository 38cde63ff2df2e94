"""Errors of every codec.

ProtocolError
├── DecodeError      the peer sent something we refuse (an event and a counter, never a crash)
└── LocalUseError    we asked the codec for something impossible (a bug of ours)
"""

from enum import StrEnum


class DecodeReason(StrEnum):
    """Why a peer's bytes were refused; closed, because it becomes a metric label."""

    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    WRONG_SHAPE = "wrong_shape"
    UNKNOWN_TYPE = "unknown_type"
    WRONG_TOPIC = "wrong_topic"


class ProtocolError(Exception):
    """Root of all codec errors."""


class DecodeError(ProtocolError):
    """The peer broke the protocol. `reason` is safe as a metric label, `detail` is for logs."""

    def __init__(self, reason: DecodeReason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class LocalUseError(ProtocolError):
    """We misused the codec: a bug on our side."""

"""Settings of the SCAIP driver."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ScaipConfig(BaseModel):
    """The section `[drivers.scaip]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # SIP users that speak for many controllers (another operator's proxy): for them the controller
    # id of the message names the terminal. Everybody else is the user that registered.
    relays: frozenset[str] = frozenset()
    # Who makes the voice call after a press: the device (it is told so in the answer), or we.
    voice: Literal["device", "gateway"] = "device"
    # What the device is told to call; empty: the number it was configured with.
    call_uri: str = Field(default="", pattern=r"^$|^(sips?:|tel:)[^\s<>\"]+$", max_length=200)
    # Where the answer goes: by the dialect of the request (`mrq`: 202, then a MESSAGE of ours;
    # `scaip`: in the 200), or always the one or the other.
    answer_in: Literal["dialect", "response", "message"] = "dialect"
    # A commit that takes longer is answered "not treated", and the device repeats. Below 32 s, when
    # a SIP transaction ends (RFC 3261 §17.1.2.2).
    submit_timeout_s: float = Field(default=5.0, gt=0, le=30)
    # Messages between arrival and commit; one more is answered "busy".
    max_in_flight: int = Field(default=500, ge=1, le=100_000)
    # `hbi` of answers to heartbeats, the standard's code from 0 to 4; empty: the device's own.
    heartbeat: str = Field(default="", pattern=r"^[0-4]?$")

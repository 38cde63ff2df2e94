"""Settings of the template driver."""

from ipaddress import ip_address
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

Seconds = Annotated[float, Field(gt=0, le=3600)]


class TemplateConfig(BaseModel):
    """The section `[drivers.template]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Loopback only: this protocol knows no passwords.
    host: str = "127.0.0.1"
    port: int = Field(default=8901, ge=1, le=65535)
    # Connections at a time; one more is closed at once.
    max_connections: int = Field(default=64, ge=1)
    # Bytes in a line; a press has about 60.
    max_line: int = Field(default=4096, ge=64)
    # Lines refused on one connection before it is closed.
    max_refusals: int = Field(default=10, ge=1)
    # A silent peer is gone after this; terminals send a beat more often.
    idle_s: Seconds = 300.0
    # Deadline for a peer to take what we write.
    write_timeout_s: Seconds = 5.0
    # A commit that takes longer counts as failed and is tried again.
    submit_timeout_s: Seconds = 15.0

    @field_validator("host")
    @classmethod
    def _loopback(cls, host: str) -> str:
        if not ip_address(host).is_loopback:
            raise ValueError("the template driver listens on a loopback address only")
        return host

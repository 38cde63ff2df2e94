"""Settings of the MQTT driver, with the reason for each default."""

import ssl
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

Seconds = Annotated[float, Field(gt=0, le=3600)]


class TlsConfig(BaseModel):
    """TLS to the broker; server name and certificate are always verified."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Authority that signed the broker's certificate; empty: those of the system.
    ca_file: Path | None = None
    # Our own certificate and key, where the broker asks for one.
    cert_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return a client context; raises OSError when a file cannot be read."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context


class FloodConfig(BaseModel):
    """How much one terminal may say before it is refused. A finger makes 3 presses a second."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Events of any kind: a burst, then so many a second.
    burst: int = Field(default=20, ge=1)
    per_second: float = Field(default=5.0, gt=0)
    # SOS presses with new ids, once the first bucket is empty: a stuck key still gets through.
    sos_burst: int = Field(default=60, ge=1)
    sos_per_second: float = Field(default=10.0, gt=0)
    # Terminals remembered; the longest silent one is forgotten first.
    terminals: int = Field(default=10_000, ge=1)


class MqttConfig(BaseModel):
    """The section `[drivers.mqtt]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # The broker.
    host: str = "127.0.0.1"
    port: int = Field(default=1883, ge=1, le=65535)
    # The gateway's user; its password as a value (environment) or in a file (mounted secret).
    username: str = ""
    password: SecretStr = SecretStr("")
    password_file: Path | None = None
    # Off unless the section is there: broker and gateway often share a machine.
    tls: TlsConfig | None = None

    # Client ids are "<prefix>-events", "<prefix>-state", "<prefix>-telemetry-<n>". Each replica
    # needs its own prefix, and the same after a restart: the broker queues presses under it.
    client_id_prefix: str = Field(default="onekey-gateway", pattern=r"^[A-Za-z0-9_.-]{1,48}$")
    # The broker notices a dead gateway after 1.5 times this, the gateway a dead broker after 2.
    keepalive_s: int = Field(default=15, ge=2, le=3600)
    # How long the broker queues presses while no gateway is there: a long week-end and a day.
    session_expiry_s: int = Field(default=5 * 86_400, ge=60, le=0xFFFFFFFE)
    # Presses in our hands that are not yet committed; the broker holds back the rest.
    receive_maximum: int = Field(default=1000, ge=1, le=65535)

    # Ingest connections; they share the stream, so more of them is for more processors.
    telemetry_connections: int = Field(default=1, ge=0, le=64)
    # Replicas with the same group share the telemetry among them.
    share_group: str = Field(default="onekey-gateway", pattern=r"^[A-Za-z0-9_.-]{1,48}$")
    # Measurements go to the gateway when so many are there, or after so long.
    telemetry_batch: int = Field(default=500, ge=1, le=10_000)
    telemetry_batch_s: Seconds = 0.05

    # How long the broker keeps a message for a terminal that is away, unless it expires earlier.
    down_expiry_s: int = Field(default=3600, ge=1)
    # Deadline for the broker's acknowledgement of a message to a terminal.
    publish_timeout_s: Seconds = 5.0
    # Deadline for connecting, for CONNACK and for SUBACK, each.
    connect_timeout_s: Seconds = 5.0
    # A commit that takes longer counts as failed and is tried again.
    submit_timeout_s: Seconds = 15.0
    # First and longest wait between attempts to connect; each is shortened by up to a half at
    # random, so that replicas do not come back together.
    backoff_min_s: Seconds = 0.5
    backoff_max_s: Seconds = 10.0

    flood: FloodConfig = FloodConfig()

    @model_validator(mode="after")
    def _one_password(self) -> "MqttConfig":
        if self.password_file is not None and self.password.get_secret_value():
            raise ValueError("give password or password_file, not both")
        if self.backoff_max_s < self.backoff_min_s:
            raise ValueError("backoff_max_s is below backoff_min_s")
        return self

    def secret(self) -> str:
        """Return the password; read anew from its file, so that a rotated secret is taken."""
        if self.password_file is not None:
            return self.password_file.read_text("utf-8").strip()
        return self.password.get_secret_value()

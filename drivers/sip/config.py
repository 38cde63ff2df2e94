"""What a worker and its factory are told. Defaults stand beside the fields."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SipConfig:
    """One pool of workers on one machine. Slots count from 0."""

    run_dir: Path  # sockets worker-<slot>.sock and logs worker-<slot>.log; short: AF_UNIX has 107
    bind_address: str = "127.0.0.1"
    public_address: str = ""  # in Contact and SDP; empty: the bind address
    sip_port_base: int = 15_100  # slot n listens on UDP base + n
    rtp_port_base: int = 20_000  # below Linux's ephemeral range, which begins at 32768
    # A leg takes two ports (RTP, RTCP), and a re-INVITE may take two more before it frees the old.
    rtp_ports_per_worker: int = 32
    legs_per_worker: int = 4  # PJSUA_MAX_CALLS of the registry's wheel
    outbound_proxy: str = ""  # SIP URI of the edge, e.g. "sip:127.0.0.1:15061;lr"; empty: direct
    user_agent: str = "onekey-gateway"
    local_user: str = "gateway"  # From: sip:<local_user>@<address>
    codecs: tuple[str, ...] = ("PCMA", "PCMU")  # in order of preference; all others are off
    # RFC 3261 §17.2.1: whoever cannot answer within 200 ms says 100 Trying. Four transmissions of
    # the INVITE (0, 0.5, 1.5, 3.5 s) without a word mean that nobody is there.
    no_reply_s: float = 4.0
    media_loss_s: float = 5.0  # a bridged leg that sends no RTP for so long has lost its media
    orphan_s: float = 60.0  # a worker without legs and without a daemon exits after this
    command_s: float = 5.0  # a worker that does not answer a command for so long counts as dead
    start_s: float = 10.0  # from the fork to the listening socket

    @property
    def address(self) -> str:
        """Return the address that others reach us by."""
        return self.public_address or self.bind_address

    @property
    def identity(self) -> str:
        """Return our own SIP URI."""
        return f"sip:{self.local_user}@{self.address}"

    def sip_port(self, slot: int) -> int:
        """Return the UDP port that the worker of `slot` listens on."""
        return self.sip_port_base + slot

    def rtp_port(self, slot: int) -> int:
        """Return the first RTP port of the worker of `slot`."""
        return self.rtp_port_base + slot * self.rtp_ports_per_worker

    def socket_path(self, slot: int) -> Path:
        """Return the path of the control socket of `slot`."""
        return self.run_dir / f"worker-{slot}.sock"

    def log_path(self, slot: int) -> Path:
        """Return the path of the log of `slot`."""
        return self.run_dir / f"worker-{slot}.log"

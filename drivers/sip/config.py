"""What a worker and its factory are told. Defaults stand beside the fields."""

from dataclasses import dataclass
from ipaddress import ip_address
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
    # Addresses or networks that may send us calls (the edge); empty: this machine alone. Others get
    # 403, but PJSIP opens two sockets per INVITE and keeps them 0.5 s: 40 INVITEs a second it
    # endures, at 60 it aborts. So the ports belong behind the edge, which limits rates.
    trusted: tuple[str, ...] = ()
    decide_s: float = 20.0  # a caller about whom the daemon says nothing for so long gets 480
    # A daemon that was restarted is back within 5 s; without one for so long, callers who wait are
    # given back to the edge (503), which knows another way.
    deserted_s: float = 10.0
    ack_s: float = 32.0  # RFC 3261 §13.3.1.4: 64 × T1 without the ACK, then the session is ended
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

    def contact(self, slot: int) -> str:
        """Return where the edge reaches the worker of `slot`: "address:port"."""
        bound = self.bind_address
        host = self.address if ip_address(bound).is_unspecified else bound
        return f"{host}:{self.sip_port(slot)}"

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

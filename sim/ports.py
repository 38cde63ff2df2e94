"""Which ports a simulated world uses: fixed ones for a demonstration, free ones for tests."""

import errno
import random
import socket
from dataclasses import dataclass

# What `sim.sip_ua` takes: four calls, each with RTP and RTCP, twice during a re-INVITE.
RTP_PER_PHONE = 32
# What `drivers.sip` takes per worker by default.
RTP_PER_WORKER = 32
# Free blocks are looked for below Linux's ephemeral range (32768 …), where any client may sit.
FREE_FROM, FREE_TO = 17_000, 32_000


class PortTaken(Exception):
    """A port that the world needs is in use; the text names port, purpose and option."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """All ports of one world. Phones come first in each SIP and RTP block, then the workers."""

    mqtt: int
    web: int
    sip_base: int
    rtp_base: int
    phones: int
    workers: int
    address: str = "127.0.0.1"

    def phone_sip(self, index: int) -> int:
        """Return the SIP port of phone `index`, counted from 0."""
        return self.sip_base + self._checked(index)

    def phone_rtp(self, index: int) -> int:
        """Return the first RTP port of phone `index`."""
        return self.rtp_base + self._checked(index) * RTP_PER_PHONE

    @property
    def worker_sip(self) -> int:
        """Return the SIP port of the gateway's worker 0."""
        return self.sip_base + self.phones

    @property
    def worker_rtp(self) -> int:
        """Return the first RTP port of the gateway's worker 0."""
        return self.rtp_base + self.phones * RTP_PER_PHONE

    def check(self) -> None:
        """Raise PortTaken for the first port that somebody holds."""
        _check_tcp(self.mqtt, "MQTT broker", "--mqtt-port", "127.0.0.1")
        _check_tcp(self.web, "live page and API", "--web-port", "127.0.0.1")
        count = self.phones + self.workers
        for port in range(self.sip_base, self.sip_base + count):
            _check_udp(port, "SIP", "--sip-port-base", self.address)
        for port in range(self.rtp_base, self.rtp_base + _rtp(self.phones, self.workers)):
            _check_udp(port, "RTP (audio)", "--rtp-port-base", self.address)

    def _checked(self, index: int) -> int:
        if not 0 <= index < self.phones:
            raise ValueError(f"phone {index}: this world has ports for {self.phones}")
        return index


def free_ports(*, phones: int, workers: int) -> Ports:
    """Return ports on 127.0.0.1 that nobody uses at this moment."""
    return Ports(
        mqtt=_free_block(1, socket.SOCK_STREAM),
        web=_free_block(1, socket.SOCK_STREAM),
        sip_base=_free_block(phones + workers, socket.SOCK_DGRAM),
        rtp_base=_free_block(_rtp(phones, workers), socket.SOCK_DGRAM),
        phones=phones,
        workers=workers,
    )


def _rtp(phones: int, workers: int) -> int:
    return phones * RTP_PER_PHONE + workers * RTP_PER_WORKER


def _free_block(count: int, kind: socket.SocketKind) -> int:
    # A random start keeps worlds that are made at the same moment apart. Even: RTP wants it.
    for _ in range(200):
        first = random.randrange(FREE_FROM, FREE_TO - count, 2)
        if all(_is_free(port, kind, "127.0.0.1") for port in range(first, first + count)):
            return first
    raise PortTaken(f"no {count} consecutive free ports between {FREE_FROM} and {FREE_TO}")


def _is_free(port: int, kind: socket.SocketKind, address: str) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:  # a port in TIME_WAIT can be listened on
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise PortTaken(f"port {port} on {address} cannot be used: {error}") from error
            return False
        return True


def _check_tcp(port: int, purpose: str, option: str, address: str) -> None:
    if not _is_free(port, socket.SOCK_STREAM, address):
        raise PortTaken(_complaint("TCP", port, purpose, option, address))


def _check_udp(port: int, purpose: str, option: str, address: str) -> None:
    if not _is_free(port, socket.SOCK_DGRAM, address):
        raise PortTaken(_complaint("UDP", port, purpose, option, address))


def _complaint(protocol: str, port: int, purpose: str, option: str, address: str) -> str:
    return (
        f"{protocol} port {port} on {address}, needed for {purpose}, is already taken. "
        f"End whoever uses it, or choose another with {option} "
        f"(make run ARGS='{option} …')."
    )

"""A cheap agent: rings and declines at once (RFC 3261 §21.4.18), hundreds of times a second."""

import asyncio
import time
from typing import Self, cast

INCIDENT_HEADER = "x-onekey-incident"


class Agent(asyncio.DatagramProtocol):
    """A UDP user agent on 127.0.0.1. `invites`: incident → first INVITE (perf_counter)."""

    def __init__(self) -> None:
        self.invites: dict[str, float] = {}
        self.declined = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._transport is not None
        self._transport.close()

    @property
    def port(self) -> int:
        """Return the UDP port."""
        assert self._transport is not None
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    @property
    def uri(self) -> str:
        """Return whom to ring."""
        return f"sip:agent@127.0.0.1:{self.port}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        # asyncio's own datagram transport is no DatagramTransport before Python 3.12.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer an INVITE; an ACK needs no answer."""
        at = time.perf_counter()
        if not data.startswith(b"INVITE "):
            return
        head = data.split(b"\r\n\r\n", 1)[0].decode("utf-8", "replace").split("\r\n")[1:]
        for line in head:
            name, _, value = line.partition(":")
            if name.lower() == INCIDENT_HEADER:
                self.invites.setdefault(value.strip(), at)
        for status in ("180 Ringing", "603 Decline"):
            self._answer(status, head, addr)
        self.declined += 1

    def _answer(self, status: str, head: list[str], addr: tuple[str, int]) -> None:
        assert self._transport is not None
        lines = [f"SIP/2.0 {status}"]
        for line in head:
            name = line.partition(":")[0].lower()
            if name in {"via", "from", "call-id", "cseq"}:
                lines.append(line)
            elif name == "to":
                lines.append(f"{line};tag=bench")
        lines += [f"Contact: <{self.uri}>", "Content-Length: 0", "", ""]
        self._transport.sendto("\r\n".join(lines).encode(), addr)

"""A SIP peer that does exactly what a test says: phone, worker, agent or trunk in one."""

import asyncio
import hashlib
import itertools
import re
import secrets
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

REALM = "onekey.test"
SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class SipMessage:
    """A received message; header names in lower case."""

    start: str
    headers: Mapping[str, Sequence[str]]
    body: str
    source: tuple[str, int]

    @property
    def method(self) -> str:
        return "" if self.start.startswith("SIP/2.0") else self.start.split()[0]

    @property
    def code(self) -> int:
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0") else 0

    @property
    def uri(self) -> str:
        return self.start.split()[1]

    def get(self, name: str) -> str:
        return next(iter(self.headers.get(name.lower(), [])), "")


def parse(data: bytes, source: tuple[str, int]) -> SipMessage:
    head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
    start, *lines = head.split("\r\n")
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), []).append(value.strip())
    return SipMessage(start, headers, body, source)


@dataclass
class Dialog:
    """Our side of a call."""

    call_id: str
    ours: str  # our From or To, with tag
    theirs: str
    target: str
    routes: list[str] = field(default_factory=list)
    cseq: int = 1


class Peer(asyncio.DatagramProtocol):
    """UDP on 127.0.0.1 (or `address`). Requests go to `edge` unless said otherwise."""

    def __init__(self, edge: int, *, address: str = "127.0.0.1", claims: str = "") -> None:
        self.edge = ("127.0.0.1", edge)
        self.address = address
        self.claims = claims  # "ip:port" that Via and Contact show: a phone behind NAT
        self.messages: list[SipMessage] = []
        self.on_request: Callable[[SipMessage], None] | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(self.address, 0)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._transport is not None
        self._transport.close()

    @property
    def port(self) -> int:
        assert self._transport is not None
        port: int = self._transport.get_extra_info("sockname")[1]
        return port

    @property
    def here(self) -> str:
        return f"{self.address}:{self.port}"

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(data) < 10:
            return  # keep-alive
        message = parse(data, addr)
        self.messages.append(message)
        self._arrived.set()
        if message.method and self.on_request is not None:
            self.on_request(message)

    def send(self, text: str | bytes, to: tuple[str, int] | None = None) -> None:
        assert self._transport is not None
        data = text.encode() if isinstance(text, str) else text
        self._transport.sendto(data, to or self.edge)

    async def wait(
        self, wanted: Callable[[SipMessage], bool], *, deadline: float = 3.0
    ) -> SipMessage:
        async with asyncio.timeout(deadline):
            while True:
                self._arrived.clear()
                for message in self.messages:
                    if wanted(message):
                        return message
                await self._arrived.wait()

    async def request(self, method: str, *, deadline: float = 3.0) -> SipMessage:
        return await self.wait(lambda message: message.method == method, deadline=deadline)

    async def final(self, call_id: str, cseq: str, *, deadline: float = 4.0) -> SipMessage:
        return await self.wait(
            lambda message: (
                message.code >= 200
                and message.get("call-id") == call_id
                and message.get("cseq") == cseq
            ),
            deadline=deadline,
        )

    def compose(
        self,
        method: str,
        uri: str,
        user: str,
        *,
        call_id: str,
        cseq: int = 1,
        headers: Sequence[str] = (),
        body: str = "",
        to: str = "",
        sender: str = "",
        via: str = "UDP",
    ) -> str:
        where = self.claims or self.here
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/{via} {where};branch=z9hG4bK{secrets.token_hex(6)};rport",
            "Max-Forwards: 70",
            f"From: {sender or f'<sip:{user}@{REALM}>;tag={call_id[:8]}'}",
            f"To: {to or f'<{uri}>'}",
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:{user}@{where}{';transport=tcp' if via == 'TCP' else ''}>",
            *headers,
            *(["Content-Type: application/sdp"] if body == SDP else []),
            f"Content-Length: {len(body.encode())}",
        ]
        return "\r\n".join(lines) + "\r\n\r\n" + body

    async def ask(
        self,
        method: str,
        uri: str,
        user: str,
        password: str | None,
        *,
        headers: Sequence[str] = (),
        body: str = "",
        to: str = "",
        sender: str = "",
        deadline: float = 4.0,
    ) -> tuple[SipMessage, str]:
        """Send a request, answer one challenge; returns the final answer and the Call-ID."""
        call_id = f"{next(_numbers)}-{secrets.token_hex(8)}"

        async def once(cseq: int, extra: Sequence[str]) -> SipMessage:
            text = self.compose(
                method,
                uri,
                user,
                call_id=call_id,
                cseq=cseq,
                headers=[*headers, *extra],
                body=body,
                to=to,
                sender=sender,
            )
            self.send(text)
            answer = await self.final(call_id, f"{cseq} {method}", deadline=deadline)
            if method == "INVITE" and answer.code >= 300:
                self.acknowledge(text, answer)
            return answer

        answer = await once(1, ())
        if answer.code in {401, 407} and password is not None:
            answer = await once(2, [credentials(answer, method, uri, user, password)])
        return answer, call_id

    def acknowledge(self, invite: str, answer: SipMessage) -> None:
        """Acknowledge a refusal: same branch, To with the tag (RFC 3261 §17.1.1.3)."""
        sent = parse(invite.encode(), ("", 0))
        self.send(
            "\r\n".join(
                [
                    f"ACK {sent.uri} SIP/2.0",
                    f"Via: {sent.get('via')}",
                    "Max-Forwards: 70",
                    f"From: {sent.get('from')}",
                    f"To: {answer.get('to')}",
                    f"Call-ID: {sent.get('call-id')}",
                    f"CSeq: {sent.get('cseq').split()[0]} ACK",
                    "Content-Length: 0\r\n\r\n",
                ]
            )
        )

    async def register(
        self, user: str, password: str, *, expires: int = 300, headers: Sequence[str] = ()
    ) -> SipMessage:
        answer, _ = await self.ask(
            "REGISTER",
            f"sip:{REALM}",
            user,
            password,
            headers=[f"Expires: {expires}", *headers],
            to=f"<sip:{user}@{REALM}>",
        )
        return answer

    def answer(
        self,
        request: SipMessage,
        code: int,
        reason: str = "Whatever",
        *,
        headers: Sequence[str] = (),
        tag: str = "answered",
    ) -> None:
        body = SDP if code in {183, 200} and request.method == "INVITE" else ""
        to = request.get("to")
        if code > 100 and ";tag=" not in to:
            to = f"{to};tag={tag}"
        copied = [
            f"{name}: {value}"
            for name in ("Via", "Record-Route")
            for value in request.headers.get(name.lower(), [])
        ]
        lines = [
            f"SIP/2.0 {code} {reason}",
            *copied,
            f"From: {request.get('from')}",
            f"To: {to}",
            f"Call-ID: {request.get('call-id')}",
            f"CSeq: {request.get('cseq')}",
            f"Contact: <sip:peer@{self.claims or self.here}>",
            *headers,
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        self.send("\r\n".join(lines) + "\r\n\r\n" + body, request.source)

    def in_dialog(self, dialog: Dialog, method: str, *, headers: Sequence[str] = ()) -> None:
        if method != "ACK":
            dialog.cseq += 1
        where = self.claims or self.here
        lines = [
            f"{method} {dialog.target} SIP/2.0",
            f"Via: SIP/2.0/UDP {where};branch=z9hG4bK{secrets.token_hex(6)};rport",
            "Max-Forwards: 70",
            *(f"Route: {route}" for route in dialog.routes),
            f"From: {dialog.ours}",
            f"To: {dialog.theirs}",
            f"Call-ID: {dialog.call_id}",
            f"CSeq: {dialog.cseq} {method}",
            f"Contact: <sip:peer@{where}>",
            *headers,
            "Content-Length: 0\r\n\r\n",
        ]
        self.send("\r\n".join(lines))


def dialog_of_caller(answer: SipMessage) -> Dialog:
    """Return the dialog that a 200 to our INVITE made."""
    return Dialog(
        call_id=answer.get("call-id"),
        ours=answer.get("from"),
        theirs=answer.get("to"),
        target=re.sub(r"[<>]", "", answer.get("contact")),
        routes=_routes(answer)[::-1],
        cseq=int(answer.get("cseq").split()[0]),
    )


def dialog_of_callee(invite: SipMessage, *, tag: str = "answered") -> Dialog:
    """Return the dialog that our 200 made."""
    return Dialog(
        call_id=invite.get("call-id"),
        ours=f"{invite.get('to')};tag={tag}",
        theirs=invite.get("from"),
        target=re.sub(r"[<>]", "", invite.get("contact")),
        routes=_routes(invite),
    )


def _routes(message: SipMessage) -> list[str]:
    found = message.headers.get("record-route", [])
    return [route.strip() for line in found for route in line.split(",")]


def ha1(user: str, password: str, realm: str = REALM) -> str:
    return md5(f"{user}:{realm}:{password}")


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def credentials(challenge: SipMessage, method: str, uri: str, user: str, password: str) -> str:
    """Return the header that answers `challenge` (RFC 2617 §3.2.2, qop=auth)."""
    proxy = challenge.code == 407
    text = challenge.get("proxy-authenticate" if proxy else "www-authenticate")
    told = dict(re.findall(r'(\w+)="?([^",]+)"?', text))
    cnonce = secrets.token_hex(4)
    parts = [
        ha1(user, password, told["realm"]),
        told["nonce"],
        "00000001",
        cnonce,
        "auth",
        md5(f"{method}:{uri}"),
    ]
    return (
        f"{'Proxy-' if proxy else ''}Authorization: Digest "
        f'username="{user}", realm="{told["realm"]}", nonce="{told["nonce"]}", uri="{uri}", '
        f'response="{md5(":".join(parts))}", algorithm=MD5, cnonce="{cnonce}", '
        "qop=auth, nc=00000001"
    )


class StreamPeer(Peer):
    """The same over TCP or TLS; messages are cut by Content-Length."""

    def __init__(self, edge: int, *, secured: bool = False) -> None:
        super().__init__(edge)
        self._secured = secured
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        reader, self._writer = await asyncio.open_connection(
            *self.edge, ssl=context if self._secured else None
        )
        self._reading = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._writer is not None
        assert self._reading is not None
        self._writer.close()
        self._reading.cancel()
        await asyncio.wait([self._reading])

    @property
    def port(self) -> int:
        assert self._writer is not None
        port: int = self._writer.get_extra_info("sockname")[1]
        return port

    def send(self, text: str | bytes, to: tuple[str, int] | None = None) -> None:  # noqa: ARG002
        assert self._writer is not None
        self._writer.write(text.encode() if isinstance(text, str) else text)

    def compose(
        self, method: str, uri: str, user: str, *, call_id: str, via: str = "", **more: Any
    ) -> str:
        wire = "TLS" if self._secured else "TCP"
        return super().compose(method, uri, user, call_id=call_id, via=via or wire, **more)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lstrip(b"\r\n")
            if not head:
                continue
            length = re.search(rb"(?im)^content-length: *(\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            self.datagram_received(head + body, self.edge)

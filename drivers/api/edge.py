"""The SIP border as the gateway sees it: who is registered, and where a call goes.

`Edge` is what the gateway is given, `EdgeHandler` what it gives: the edge asks, the gateway
answers within a second or the edge decides by itself (SOS to the static target, others 503).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from drivers.api.errors import TransientError
from drivers.api.ids import CallId


class EdgeUnavailable(TransientError):
    """The edge is not there or did not answer; what was asked may not have been done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One contact of one user. Times are Unix seconds; `source` is "ip:port" as the edge saw it."""

    user: str
    contact: str
    expires_at: float
    source: str
    transport: str  # udp, tcp or tls
    user_agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteQuestion:
    """A call at the border. All texts are the peer's: unclean, except `user` and `trunk`.

    `user` has proved who it is, or is empty when the call came from `trunk`.
    """

    user: str
    from_user: str
    display: str
    to_user: str
    call_id: str
    source: str  # "ip:port"
    transport: str
    trunk: str = ""
    priority: str = ""
    failed: tuple[str, ...] = ()  # targets of earlier answers for this call that did not take it


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTo:
    """Send the call to `uri`; with `call` it is a worker's, which sees it as X-Onekey-Call.

    A `uri` in the edge's own domain is a registered user, one in "<trunk>.onekey" a trunk.
    """

    uri: str
    call: CallId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRefused:
    """Refuse the call with a SIP code from 400 to 699."""

    code: int
    reason: str = ""
    retry_after_s: int = 0


RouteAnswer = RouteTo | RouteRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageQuestion:
    """A SIP MESSAGE from a registered user."""

    user: str
    from_user: str
    to_user: str
    call_id: str
    content_type: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageAnswer:
    """The reply to a MESSAGE: a SIP code from 200 to 699 and a body."""

    code: int
    reason: str = ""
    content_type: str = ""
    body: str = ""


class EdgeHandler(Protocol):
    """The gateway's side. Anything raised counts as no answer: the edge then decides."""

    async def ha1(self, user: str) -> str | None:
        """Return MD5(user:realm:password) in lower-case hex (RFC 2617 §3.2.2.2), or None."""
        ...

    async def route(self, question: RouteQuestion) -> RouteAnswer:
        """Say where a call goes."""
        ...

    async def message(self, question: MessageQuestion) -> MessageAnswer:
        """Answer a MESSAGE."""
        ...


class Edge(Protocol):
    """The SIP border."""

    @property
    def healthy(self) -> bool:
        """Tell whether the edge answered its last question, not longer ago than a few seconds."""
        ...

    @property
    def outbound_proxy(self) -> str:
        """Return the SIP URI through which workers dial, with `;lr`."""
        ...

    def registrations(self) -> Sequence[Registration]:
        """Return who is registered, as of a few seconds ago."""
        ...

    def watch(self, on_change: Callable[[Sequence[Registration]], None]) -> None:
        """Call `on_change` on the loop with all registrations, now and whenever they change."""
        ...

    async def push_credentials(self, user: str, ha1: str) -> None:
        """Let `user` in with `ha1` from now on, restarts included; raises EdgeUnavailable."""
        ...

    async def replace_credentials(self, credentials: Mapping[str, str]) -> None:
        """Make these (user → HA1) the only known ones; raises EdgeUnavailable."""
        ...

    async def revoke(self, user: str) -> None:
        """Forget the credentials and the contacts of `user`; raises EdgeUnavailable."""
        ...

    async def end_dialogs(self, worker: str) -> int:
        """End both sides of every call through the worker at "ip:port"; returns how many.

        For a worker that was killed: its peers were told nothing. Raises EdgeUnavailable.
        """
        ...

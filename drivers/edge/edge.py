"""The SIP border on Kamailio: files, process, questions both ways, registrations."""

import asyncio
import contextlib
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import structlog

from drivers.api.edge import EdgeHandler, EdgeUnavailable, Registration
from drivers.edge import database
from drivers.edge.config import EdgeConfig
from drivers.edge.control import ControlServer
from drivers.edge.process import EdgeProcess
from drivers.edge.rendering import TEMPLATE, find_modules, render, render_tls
from drivers.edge.rpc import KamailioRpc, RpcRefused

log = structlog.get_logger()

MAX_LOG = 10_485_760  # bytes; a bigger log of Kamailio's is cut
HANGS_S = 10.0  # an edge that lives but does not answer for so long is started anew
MOMENT_S = 0.5  # from a 200 at Kamailio to the dialog in its memory: milliseconds, with room
_USER = re.compile(r"[^\s\x00-\x1f@:]{1,64}")
_HA1 = re.compile(r"[0-9a-f]{32}")
_LOOK_S = 0.02

OnChange = Callable[[Sequence[Registration]], None]


class KamailioEdge:
    """Edge on Kamailio; an async context manager.

    Kamailio lives on when the context ends, unless `end_at_exit` was set: that is for an orderly
    stop at once. A daemon that drains or dies leaves the edge to the next one.
    """

    def __init__(self, config: EdgeConfig, handler: EdgeHandler) -> None:
        """Take the configuration and who answers the edge's questions."""
        self.end_at_exit = False
        self._config = config
        self._handler = handler
        self._process = EdgeProcess(config)
        self._rpc = KamailioRpc(config.rpc_path, deadline_s=config.rpc_s)
        self._control: ControlServer | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._registrations: Sequence[Registration] = ()
        self._watchers: list[OnChange] = []
        self._counters: Mapping[str, int] = {}
        self._answered_at = 0.0
        self._up = False

    async def __aenter__(self) -> Self:
        """Start or adopt; raises EdgeUnavailable or OSError."""
        try:
            await self._start()
        except BaseException:
            await self._stop(end=False)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop(end=self.end_at_exit)

    @property
    def healthy(self) -> bool:
        """Tell whether the edge answered its last question."""
        return self._up

    @property
    def outbound_proxy(self) -> str:
        """Return the SIP URI through which workers dial."""
        return self._config.outbound_proxy

    @property
    def pid(self) -> int | None:
        """Return Kamailio's first process, None when it is external or gone."""
        return self._process.pid

    @property
    def counters(self) -> Mapping[str, int]:
        """Return how often what happened since Kamailio's start, as of the last poll."""
        return self._counters

    def registrations(self) -> Sequence[Registration]:
        """Return who is registered, as of the last poll."""
        return self._registrations

    def watch(self, on_change: OnChange) -> None:
        """Call `on_change` with all registrations, now and whenever they change."""
        self._watchers.append(on_change)
        on_change(self._registrations)

    async def push_credentials(self, user: str, ha1: str) -> None:
        """Let `user` in; raises EdgeUnavailable, though the next start of the edge knows it."""
        if not _USER.fullmatch(user) or not _HA1.fullmatch(ha1):
            raise ValueError("a user without spaces and an HA1 of 32 hexadecimal digits")
        await self._store_ha1(user, ha1)
        await self._rpc.ask("htable.sets", "ha1", user, ha1)
        await self._ask_kindly("htable.delete", "stranger", user)

    async def replace_credentials(self, credentials: Mapping[str, str]) -> None:
        """Make these the only known credentials; raises EdgeUnavailable."""
        path = self._config.credentials_db
        await asyncio.to_thread(database.replace_ha1, path, dict(credentials))
        await self._ask_kindly("htable.flush", "ha1")
        await self._rpc.ask("htable.reload", "ha1")
        await self._ask_kindly("htable.flush", "stranger")

    async def revoke(self, user: str) -> None:
        """Forget credentials and contacts of `user`; raises EdgeUnavailable."""
        await asyncio.to_thread(database.forget_ha1, self._config.credentials_db, user)
        await self._ask_kindly("htable.delete", "ha1", user)
        await self._ask_kindly("ul.rm", "location", user)
        await self._read_registrations()

    async def end_dialogs(self, worker: str) -> int:
        """End every call through the worker at "ip:port"; raises EdgeUnavailable.

        A call that is answered at this very moment is neither waiting nor answered to Kamailio: it
        is looked for again, for MOMENT_S.
        """
        deadline = time.monotonic() + MOMENT_S
        ended: set[str] = set()
        left = await self._end_young(worker, ended)
        while left and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_S)
            left = await self._end_young(worker, ended)
        await self._end_old(worker, ended)
        log.info("edge_dialogs_ended", worker=worker, count=len(ended))
        return len(ended)

    async def _end_young(self, worker: str, ended: set[str]) -> bool:
        """End calls that are not answered, or were seconds ago; returns whether some are left."""
        left = False
        for call in young_calls(await self._rpc.ask("htable.dump", "early"), worker):
            if call.answered is None:
                done = await self._ask_kindly("tm.reply_callid", *_lost(call))
            else:
                done = await self._ask_kindly("dlg.end_dlg", *call.answered)
            left = left or not done
            if done:
                ended.add(call.call_id)
                await self._ask_kindly("htable.delete", "early", call.call_id)
        return left

    async def _end_old(self, worker: str, ended: set[str]) -> None:
        """End the calls in the dialog table.

        Rows of calls that ended by themselves stay for the 5 s that Kamailio keeps a transaction
        (tm, wt_timer). dlg.is_alive tells them apart, but knows only acknowledged calls.
        """
        path = self._config.dialog_db
        for key, acknowledged in await asyncio.to_thread(database.answered_dialogs, path, worker):
            if key.call_id in ended:
                continue
            if acknowledged and not await self._ask_kindly("dlg.is_alive", *key):
                continue
            if await self._ask_kindly("dlg.terminate_dlg", *key):
                ended.add(key.call_id)

    async def poll(self) -> None:
        """Read registrations, counters and health now; the edge does it every `poll_s` itself."""
        try:
            self._counters = counters_of(await self._rpc.ask("htable.dump", "count"))
        except EdgeUnavailable as exc:
            if self._up:
                log.warning("edge_silent", detail=str(exc))
            self._up = False
        else:
            self._up, self._answered_at = True, time.monotonic()
        await self._read_registrations()

    async def _start(self) -> None:
        config = self._config
        config.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if config.state_dir is not None:
            config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for stale in config.run_dir.glob("rpc-*.sock"):
            stale.unlink(missing_ok=True)
        token = _token(config)
        await asyncio.to_thread(
            database.prepare, config.location_db, config.dialog_db, config.credentials_db
        )
        changed = write_configuration(config, token)
        self._control = ControlServer(
            self._handler, self._store_ha1, token=token, deadline_s=config.answer_s
        )
        await self._control.start(config.control_address, config.control_port)
        if not config.external:
            await self._process.start(fresh=changed)
            self._own(self._process.supervise(), "edge-process")
        await self._answers()
        await self.poll()
        self._own(self._poll_for_ever(), "edge-poll")

    async def _stop(self, *, end: bool) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks.clear()
        if self._control is not None:
            await self._control.stop()
        self._rpc.close()
        self._up = False
        if end and not self._config.external:
            await self._process.stop()

    def _own(self, work: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(_report)
        self._tasks.append(task)

    async def _answers(self) -> None:
        """Wait for the first answer; raises EdgeUnavailable with the end of the log."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._config.start_s
        while True:
            try:
                await self._rpc.ask("core.uptime")
            except EdgeUnavailable as exc:
                if loop.time() > end:
                    raise EdgeUnavailable(f"the edge does not start: {exc}") from exc
            else:
                return
            await asyncio.sleep(_LOOK_S)

    async def _poll_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._config.poll_s)
            await self.poll()
            cut_log(self._config)
            await self._restart_if_it_hangs()

    async def _restart_if_it_hangs(self) -> None:
        if self._config.external or time.monotonic() - self._answered_at < HANGS_S:
            return
        log.error("edge_hangs", pid=self._process.pid)
        self._answered_at = time.monotonic()
        await self._process.restart()

    async def _read_registrations(self) -> None:
        try:
            found = await asyncio.to_thread(
                database.registrations, self._config.location_db, time.time()
            )
        except sqlite3.Error as exc:
            log.warning("edge_registrations_unreadable", detail=str(exc))
            return
        if found == self._registrations:
            return
        self._registrations = found
        for watcher in self._watchers:
            watcher(found)

    async def _store_ha1(self, user: str, ha1: str) -> None:
        await asyncio.to_thread(database.store_ha1, self._config.credentials_db, user, ha1)

    async def _ask_kindly(self, method: str, *params: str | int) -> bool:
        """Ask for what may already be so: a key that is not there, a call that ended.

        Returns whether there was something to do.
        """
        try:
            await self._rpc.ask(method, *params)
        except RpcRefused:
            return False
        return True


def write_configuration(config: EdgeConfig, token: str) -> bool:
    """Write Kamailio's configuration; returns whether it differs from the one on disk."""
    template = TEMPLATE.read_text("utf-8")
    modules = config.module_dir or find_modules()
    wanted = {
        config.config_path: render(config, token=token, template=template, module_dir=modules)
    }
    if config.tls:
        wanted[config.tls_config_path] = render_tls(config)
    changed = False
    for path, text in wanted.items():
        if path.exists() and path.read_text("utf-8") == text:
            continue
        changed = True
        path.touch(mode=0o600)
        path.write_text(text, "utf-8")
    return changed


class YoungCall(NamedTuple):
    """A call in Kamailio's table `early`; `answered` is entry and id of its dialog."""

    call_id: str
    cseq: str
    answered: tuple[int, int] | None


def young_calls(dump: Any, worker: str) -> list[YoungCall]:
    """Return the calls of `worker` in a dump of `early`."""
    values = ((str(item["name"]), str(item["value"]).split(",")) for item in _items(dump))
    return [
        YoungCall(call_id, rest[0], (int(rest[1]), int(rest[2])) if len(rest) == 3 else None)
        for call_id, (at, *rest) in values
        if at == worker
    ]


def counters_of(dump: Any) -> Mapping[str, int]:
    """Return name → count of a dump of `count`."""
    return {str(item["name"]): int(item["value"]) for item in _items(dump)}


def cut_log(config: EdgeConfig) -> None:
    """Empty Kamailio's log when it has grown too long; Kamailio appends, so it goes on."""
    with contextlib.suppress(FileNotFoundError):
        if config.log_path.stat().st_size > MAX_LOG:
            os.truncate(config.log_path, 0)


def _lost(call: YoungCall) -> tuple[str | int, ...]:
    """Return what tm.reply_callid takes: code, reason, call, To tag, more headers."""
    again = "Retry-After: 1\r\n"
    return 503, "Worker Lost", call.call_id, call.cseq, secrets.token_hex(4), again


def _items(dump: Any) -> list[Any]:
    return [item for slot in dump or [] for item in slot["slot"]]


def _token(config: EdgeConfig) -> str:
    """Return the secret of this run_dir: an adopted Kamailio must know the same."""
    with contextlib.suppress(FileNotFoundError):
        if token := config.token_path.read_text("ascii").strip():
            return token
    token = secrets.token_hex(16)
    config.token_path.touch(mode=0o600)
    config.token_path.write_text(token, "ascii")
    return token


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (exc := task.exception()) is not None:
        log.error("edge_task_failed", task=task.get_name(), exc_info=exc)

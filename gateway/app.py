"""Composition root: the only place that knows every part. `_serve` shows the order of the start."""

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
from pydantic import TypeAdapter

from drivers import registry
from drivers.api.driver import Driver
from drivers.api.errors import StoreUnavailable
from drivers.api.legs import StreamStats
from drivers.edge.config import EdgeConfig
from drivers.edge.edge import KamailioEdge
from drivers.sip.config import SipConfig
from drivers.sip.factory import SipWorkerFactory
from gateway.archive import Archive
from gateway.border import Border
from gateway.callers import CallerParts, Callers
from gateway.cdr.book import CdrBook
from gateway.clock import SystemClock
from gateway.closing import Closer
from gateway.config import DEFAULT_REALM, Settings
from gateway.driver_port import DriverPort
from gateway.feed import Feed
from gateway.flows.runner import FlowRunner
from gateway.followup import FollowUp
from gateway.health import HealthBoard
from gateway.incidents.desk import SqlIncidentDesk
from gateway.incidents.messages import IncidentMessage
from gateway.incidents.states import IncidentState
from gateway.jobs import Jobs, Work, watch_lag
from gateway.logs import logging_to
from gateway.metrics import Metrics
from gateway.pipeline import Parts, Pipeline
from gateway.recovery import Recovery
from gateway.routing.rules import Router
from gateway.stopping import StopSignals
from gateway.store.database import Database
from gateway.tasks.desk import TaskDesk
from gateway.telephony.pool import WorkerPool
from gateway.telephony.prompts import PromptLibrary
from gateway.telephony.quality import quality_heard_by_us
from gateway.terminals.directory import Directory
from gateway.terminals.messenger import Messenger
from gateway.terminals.tracker import TerminalTracker
from gateway.web.app import WebServer
from gateway.web.cdr_views import tasks_now
from gateway.web.deps import WebDeps
from gateway.web.views import incident_changed

log = structlog.get_logger()

# At SIGINT each step of the end gets so long: commits take milliseconds, and four steps that wait
# for a store that does not answer still end within the three seconds that are promised.
NOW_S = 0.4


class Gateway:
    """All parts of one daemon, wired; nothing runs yet."""

    def __init__(
        self, settings: Settings, foundation: "Foundation", drivers: dict[str, Driver]
    ) -> None:
        self.settings = settings
        self.drivers = drivers
        self.database = foundation.database
        self.pool = foundation.pool
        self.metrics = foundation.metrics
        self.clock = SystemClock()
        self.health = HealthBoard()
        self.feed = Feed(self.metrics, settings.web.feed_queue)
        self.edge_config = foundation.edge_config
        self._wire_cases()
        self._wire_calls()

    def _wire_cases(self) -> None:
        s, clock, metrics, database = self.settings, self.clock, self.metrics, self.database
        self.directory = Directory(database, clock, s.presence)
        self.tracker = TerminalTracker(
            self.directory, database, metrics, clock, s.presence, lambda _changed: None
        )
        self.messenger = Messenger(self.drivers, self.directory, metrics, clock)
        self.desk = SqlIncidentDesk(database, metrics, clock, self._published, config=s.incidents)
        self.tasks = TaskDesk(
            database, metrics, clock, lambda board: self.feed.publish(tasks_now(board))
        )
        self.followup = FollowUp(self.tasks)
        self.archive = Archive(s.recordings_dir, self.desk, clock)

    def _wire_calls(self) -> None:
        s, clock, metrics = self.settings, self.clock, self.metrics
        edge = self.edge_config
        self.border = Border(
            s,
            self.database,
            metrics,
            clock,
            realm=edge.realm if edge else DEFAULT_REALM,
            living=lambda: self.runner.call_ids,
        )
        self.runner = FlowRunner(
            settings=s,
            dialer=self.pool,
            desk=self.desk,
            messenger=self.messenger,
            directory=self.directory,
            prompts=PromptLibrary(s.prompt_dirs, s.prompts.language),
            metrics=metrics,
            clock=clock,
            finish_recording=self.archive.finish,
            free_parties=self.border.free_parties if edge else None,
            agents=self.border.agents,
        )
        self.pipeline = Pipeline(
            Parts(
                config=s.incidents,
                desk=self.desk,
                directory=self.directory,
                messenger=self.messenger,
                router=Router(s.routing),
                flows=self.runner,
                metrics=metrics,
                clock=clock,
            )
        )
        self.recovery = Recovery(
            self.desk, self.runner, self.pipeline.begin, clock, self.pipeline.needs_nobody
        )
        self.closer = Closer(self.desk, self.runner.incident_closed, self.messenger, clock)
        self.health.watch("store", lambda: self.database.last_error)
        if edge is not None:
            self.health.watch("edge", self.border.problem)
        for name in self.drivers:
            self.health.expect(name)
        if s.telephony.enabled:
            self.health.watch(
                "telephony", lambda: "" if self.pool.available else "no worker is ready"
            )

    def _published(self, message: IncidentMessage) -> None:
        """Pass a committed change on, in the order of the commits; runs on the loop."""
        incident = message.incident
        if self.feed.watched:
            terminal = self.directory.get(incident.terminal)
            self.feed.publish(incident_changed(incident, message.entries, terminal))
        self.followup.see(message)
        if incident.state is IncidentState.CLOSED:
            self.closer.closed(incident)

    def callers(self, realm: str) -> Callers:
        """Return who answers the edge's questions."""
        return Callers(
            CallerParts(
                config=self.settings.callers,
                realm=realm,
                accounts=self.border.accounts,
                take=self.pipeline.take,
                calls=self.runner,
                message=self.border.message,
                metrics=self.metrics,
                clock=self.clock,
            )
        )

    def port(self, name: str) -> DriverPort:
        """Return what the driver `name` sees of the gateway."""
        return DriverPort(
            name,
            pipeline=self.pipeline,
            tracker=self.tracker,
            metrics=self.metrics,
            clock=self.clock,
            on_link=self.health.link,
        )

    def web_deps(self) -> WebDeps:
        """Return what the HTTP surface reads and may do."""
        return WebDeps(
            config=self.settings.web,
            clock=self.clock,
            metrics=self.metrics,
            feed=self.feed,
            desk=self.desk,
            close=self.closer.close,
            terminals=self.directory,
            calls=lambda: self.runner.running,
            workers=self.pool.snapshot,
            health=self.health.read,
            agents=self.border.agents,
            cdr=CdrBook(self.database, mos=_mos),
            tasks=self.tasks,
        )

    def work(self) -> dict[str, Work]:
        """Return what runs beside the drivers from start to stop."""
        return {
            "incidents": self.desk.run,
            "presence": self.tracker.run,
            "terminals": self.directory.follow,
            "messenger": self.messenger.run,
            "closer": self.closer.run,
            "tasks": self.tasks.run,
            "followup": self.followup.run,
            "calls": self.runner.run,
            "accounts": self.border.accounts.follow,
            "agents": self.border.agents.run,
            "border": self.border.run,
            "lag": partial(watch_lag, self.metrics),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What must stand before anything is wired."""

    database: Database
    pool: WorkerPool
    metrics: Metrics
    edge_config: EdgeConfig | None


def _mos(stats: StreamStats) -> float | None:
    """Return how the party of a leg sounded to us, as the CDR shows it."""
    quality = quality_heard_by_us(stats)
    return quality.mos if quality else None


def serve(settings: Settings) -> int:
    """Run the daemon until a signal ends it; returns the exit code."""
    with logging_to(settings.log):
        return asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    stop = StopSignals()
    async with AsyncExitStack() as stack:
        foundation = await _lay_foundation(settings, stack, stop)
        drivers = {name: registry.load(name)(dict(own)) for name, own in settings.drivers.items()}
        gateway = Gateway(settings, foundation, drivers)
        await gateway.directory.load()
        await gateway.border.load()
        await stack.enter_async_context(WebServer(gateway.web_deps()))
        background = await stack.enter_async_context(Jobs())
        for name, work in gateway.work().items():
            background.start(name, work)
        await gateway.recovery.at_start()
        background.start("repair", partial(gateway.archive.repair, gateway.runner.call_ids))
        beginning = await stack.enter_async_context(Jobs())
        beginning.start("recovery", gateway.recovery.run)
        await _open_border(gateway, stack, stop)
        intake = await stack.enter_async_context(Jobs())
        for name, driver in drivers.items():
            intake.start(name, partial(driver.run, gateway.port(name)))
        log.info("gateway_ready", instance=settings.instance, terminals=len(gateway.directory))
        how = await stop.asked()
        log.info("gateway_stopping", how=how.value)
        await _stop(gateway, beginning, intake, stop)
    log.info("gateway_stopped")
    return 0


async def _lay_foundation(
    settings: Settings, stack: AsyncExitStack, stop: StopSignals
) -> Foundation:
    """Open the store and the pool; raises StoreUnavailable, StoreTooNew or TransientError."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    metrics, clock = Metrics(), SystemClock()
    database = Database(settings.store, settings.store_url, metrics)
    await database.start()
    stack.push_async_callback(partial(_stop_database, database, stop))
    edge_config = _edge_config(settings)
    factory = SipWorkerFactory(_sip_config(settings, edge_config))
    pool = WorkerPool(settings.telephony, factory, metrics, clock)
    if settings.telephony.enabled:
        await stack.enter_async_context(factory)
        await pool.start()
        stack.push_async_callback(partial(_stop_pool, pool, stop))
    return Foundation(database=database, pool=pool, metrics=metrics, edge_config=edge_config)


async def _open_border(gateway: Gateway, stack: AsyncExitStack, stop: StopSignals) -> None:
    """Start or adopt the edge; raises EdgeUnavailable. It lives on unless we end at once."""
    config = gateway.edge_config
    if config is None:
        return
    edge = KamailioEdge(config, gateway.callers(config.realm))
    await stack.enter_async_context(edge)

    def leave() -> None:
        edge.end_at_exit = stop.at_once

    stack.callback(leave)
    gateway.border.attach(edge)


async def _stop_database(database: Database, stop: StopSignals) -> None:
    """Commit what waits, for as long as there is time."""
    await database.stop(patience_s=NOW_S if stop.at_once else None)


async def _stop_pool(pool: WorkerPool, stop: StopSignals) -> None:
    """End the workers, or leave those that still talk to the next daemon."""
    await pool.stop(workers="quit" if stop.at_once else "leave")


def _edge_config(settings: Settings) -> EdgeConfig | None:
    """Return what the edge is told; raises ValidationError or ValueError for a wrong section."""
    if not settings.edge:
        return None
    own = {"run_dir": settings.data_dir / "edge", **settings.edge}
    own["run_dir"] = Path(own["run_dir"]).absolute()
    return TypeAdapter(EdgeConfig).validate_python(own)


def _sip_config(settings: Settings, edge: EdgeConfig | None = None) -> SipConfig:
    own = {"run_dir": settings.data_dir / "run", **settings.telephony.sip}
    own["run_dir"] = Path(own["run_dir"]).absolute()
    if edge is not None:
        own.setdefault("outbound_proxy", edge.outbound_proxy)
    return SipConfig(legs_per_worker=settings.telephony.legs_per_worker, **own)


async def _stop(gateway: Gateway, beginning: Jobs, intake: Jobs, stop: StopSignals) -> None:
    """Take nothing more; let calls end; write what is in memory. A second signal hurries it."""
    gateway.health.draining = True
    gateway.pipeline.close()  # presses wait at the broker; what we say still goes out
    await beginning.end()
    await stop.hurried(gateway.pipeline.drain(), grace_s=NOW_S)
    if not stop.at_once:
        with suppress(TimeoutError):
            async with asyncio.timeout(gateway.settings.incidents.drain_s):
                await stop.hurried(gateway.runner.idle())
    await stop.hurried(gateway.runner.stop(hang_up=stop.at_once), grace_s=NOW_S)
    await intake.end()
    with suppress(StoreUnavailable):  # measurements of the last seconds; the next heartbeat mends
        await stop.hurried(gateway.tracker.flush(), grace_s=NOW_S)


def check(settings: Settings) -> list[str]:
    """Return what is wrong with a configuration beyond its types: driver sections, prompts."""
    problems = PromptLibrary(settings.prompt_dirs, settings.prompts.language).check()
    found = [f"prompts: {line}" for line in problems]
    for name, own in settings.drivers.items():
        try:
            registry.load(name)(dict(own))
        except (LookupError, ValueError, OSError) as error:
            found.append(f"drivers.{name}: {error}")
    try:
        _sip_config(settings)
    except TypeError as error:
        found.append(f"telephony.sip: {error}")
    try:
        _edge_config(settings)
    except ValueError as error:
        found.append(f"edge: {error}")
    return found

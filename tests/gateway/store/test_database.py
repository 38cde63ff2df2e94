import asyncio
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError

from drivers.api.errors import StoreUnavailable
from gateway.config import StoreConfig
from gateway.metrics import Metrics
from gateway.store.database import Database
from gateway.store.migrate import StoreTooNew
from tests.gateway.store.conftest import Opened
from tests.postgres import cluster
from tests.waiting import wait_until


def fill(value: str, *, then_raise: Exception | None = None) -> "Fill":
    return Fill(value, then_raise)


class Fill:
    """Writes a row into the probe table, the only one without rules."""

    def __init__(self, value: str, then_raise: Exception | None) -> None:
        self._value = value
        self._error = then_raise

    def __call__(self, connection: Connection) -> str:
        connection.execute(text("INSERT INTO probe (filler) VALUES (:v)"), {"v": self._value})
        if self._error is not None:
            raise self._error
        return self._value


async def rows(database: Database) -> list[str]:
    return await database.read(
        lambda connection: list(
            connection.execute(text("SELECT filler FROM probe ORDER BY filler")).scalars()
        )
    )


def path_of(url: str) -> str:
    return url.removeprefix("sqlite:///")


async def test_write_returns_after_the_commit(store_url: str, opened: Opened) -> None:
    async with opened(store_url) as database:
        assert await database.write(fill("a")) == "a"
        assert await rows(database) == ["a"]
        assert database.ready
        assert database.last_error == ""


async def test_committed_writes_survive_a_restart(store_url: str, opened: Opened) -> None:
    async with opened(store_url) as database:
        await database.write(fill("a"))
    async with opened(store_url) as database:
        assert await rows(database) == ["a"]


async def test_an_error_undoes_only_its_own_write(store_url: str, opened: Opened) -> None:
    async with opened(store_url) as database:
        results = await asyncio.gather(
            database.write(fill("a")),
            database.write(fill("b", then_raise=LookupError("mine"))),
            database.write(fill("c")),
            database.write(lambda c: c.execute(text("INSERT INTO probe (filler) VALUES (NULL)"))),
            return_exceptions=True,
        )
        assert results[0] == "a"
        assert isinstance(results[1], LookupError)
        assert results[2] == "c"
        assert isinstance(results[3], IntegrityError)
        assert await rows(database) == ["a", "c"]
        assert database.ready


async def test_waiting_writes_share_a_commit(sqlite_url: str) -> None:
    metrics = Metrics()
    database = Database(StoreConfig(batch_max=100), sqlite_url, metrics)
    await database.start()
    await asyncio.gather(*(database.write(fill(str(i))) for i in range(300)))
    await database.stop()
    batches = metrics.registry.get_sample_value("onekey_store_batch_size_count")
    writes = metrics.registry.get_sample_value("onekey_store_batch_size_sum")
    assert writes == 300
    assert batches is not None
    assert 3 <= batches <= 30


async def test_urgent_writes_go_first_and_each_lane_keeps_its_order(
    sqlite_url: str, opened: Opened
) -> None:
    order: list[str] = []
    async with opened(sqlite_url) as database:
        lanes = [("n1", False), ("n2", False), ("u1", True), ("n3", False), ("u2", True)]
        release = asyncio.Event()
        loop = asyncio.get_running_loop()

        holding = threading.Event()

        def hold(connection: Connection) -> None:
            del connection
            holding.set()
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result(10)

        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(database.write(hold))]
        await wait_until(holding.is_set)
        for name, urgent in lanes:
            write = database.write(fill(name), urgent=urgent, then=order.append)
            tasks.append(asyncio.create_task(write))
        await wait_until(lambda: database.queue_depth == len(lanes))
        release.set()
        await asyncio.gather(*tasks)
    assert [name for name in order if name in {"u1", "u2", "n1"}] == ["u1", "u2", "n1"]
    assert [name for name in order if name.startswith("n")] == ["n1", "n2", "n3"]


async def test_listener_hears_of_the_commit_even_when_the_caller_is_gone(
    sqlite_url: str, opened: Opened
) -> None:
    heard: list[str] = []
    async with opened(sqlite_url) as database:
        task = asyncio.create_task(database.write(fill("a"), then=heard.append))
        await asyncio.sleep(0)
        task.cancel()
        await wait_until(lambda: heard == ["a"])
        assert await rows(database) == ["a"]


async def test_a_defect_of_a_listener_harms_nobody(sqlite_url: str, opened: Opened) -> None:
    def broken(value: str) -> None:
        raise ZeroDivisionError(value)

    async with opened(sqlite_url) as database:
        both = await asyncio.gather(
            database.write(fill("a"), then=broken), database.write(fill("b"))
        )
        assert list(both) == ["a", "b"]


async def test_full_queue_refuses_at_once(sqlite_url: str, opened: Opened) -> None:
    async with opened(sqlite_url, queue_max=100) as database:
        with closing(sqlite3.connect(path_of(sqlite_url), isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            tasks = [asyncio.create_task(database.write(fill("000")))]
            writer = database._writer
            assert writer is not None
            await wait_until(lambda: writer.busy_s() > 0)
            tasks += [asyncio.create_task(database.write(fill(f"{i:03}"))) for i in range(1, 400)]
            await wait_until(lambda: database.queue_depth == 100)
            with pytest.raises(StoreUnavailable, match="too many"):
                await database.write(fill("late"))
            other.execute("ROLLBACK")
        done = await asyncio.gather(*tasks, return_exceptions=True)
        taken = [one for one in done if isinstance(one, str)]
        assert len(taken) == 101  # one under way and a full queue
        assert await rows(database) == taken


async def test_reads_cannot_write(store_url: str, opened: Opened) -> None:
    async with opened(store_url) as database:
        with pytest.raises((StoreUnavailable, OperationalError)):
            await database.read(fill("a"))
        assert await rows(database) == []


async def test_after_stop_nothing_is_taken(sqlite_url: str, opened: Opened) -> None:
    async with opened(sqlite_url) as database:
        task = asyncio.create_task(database.write(fill("last")))
        await asyncio.sleep(0)
    assert await task == "last"  # what waited was committed
    with pytest.raises(StoreUnavailable, match="closed"):
        await database.write(fill("late"))
    with pytest.raises(StoreUnavailable, match="closed"):
        await rows(database)


async def test_locked_store_refuses_and_recovers_by_itself(sqlite_url: str, opened: Opened) -> None:
    async with opened(sqlite_url, busy_timeout_s=0.2) as database:
        with closing(sqlite3.connect(path_of(sqlite_url), isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreUnavailable, match="locked"):
                await database.write(fill("a"))
            assert not database.ready
            assert "locked" in database.last_error
            assert failures(database, "locked") >= 1
            other.execute("ROLLBACK")
        await wait_until(lambda: database.ready, what="the probe")
        await database.write(fill("b"))
        assert await rows(database) == ["b"]


async def test_full_disk_refuses_and_recovers_by_itself(sqlite_url: str, opened: Opened) -> None:
    """`max_page_count` is per connection, so it is set through a write."""
    async with opened(sqlite_url) as database:
        pages = await database.write(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar())

        def limit(connection: Connection) -> None:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        def big(connection: Connection) -> None:
            limit(connection)
            fill("x" * 100_000)(connection)

        with pytest.raises(StoreUnavailable, match="full"):
            await database.write(big)
        assert not database.ready
        assert failures(database, "full") == 1
        await wait_until(lambda: database.ready, what="the probe")
        await database.write(fill("b"))
        assert await rows(database) == ["b"]


def failures(database: Database, reason: str) -> float:
    registry = database._metrics.registry
    return registry.get_sample_value("onekey_store_errors_total", {"reason": reason}) or 0.0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
async def test_really_full_disk(tmp_path: Path, opened: Opened) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = await asyncio.create_subprocess_exec(
        "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small),
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    if await mount.wait() != 0:
        pytest.skip("this machine does not allow mounts")
    ballast = small / "ballast"
    try:
        async with opened(f"sqlite:///{small / 'store.sqlite'}") as database:
            _fill_up(ballast)
            results = []
            for i in range(200):
                try:
                    results.append(await database.write(fill(f"{i:03}" + "x" * 2000)))
                except StoreUnavailable:
                    break
            else:
                pytest.fail("the disk never filled")
            assert not database.ready
            ballast.unlink()
            await wait_until(lambda: database.ready, what="the probe")
            results.append(await database.write(fill("z")))
            assert await rows(database) == sorted(results)
    finally:
        await (await asyncio.create_subprocess_exec("umount", str(small))).wait()


def _fill_up(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


async def test_killed_server_connection_is_replaced(opened: Opened) -> None:
    url = cluster().new_database()
    async with opened(url) as database:
        await database.write(fill("a"))
        with cluster().connect() as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'onekey-gateway'"
            )
        with pytest.raises(StoreUnavailable):
            await database.write(fill("b"))
        assert not database.ready
        assert await database.write(fill("c")) == "c"
        assert database.ready


async def test_silent_server_is_given_up_and_taken_back(opened: Opened) -> None:
    url = cluster().new_database()
    async with opened(url, busy_timeout_s=0.3) as database:
        backend = await database.write(
            lambda c: c.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        )
        assert isinstance(backend, int)
        os.kill(backend, signal.SIGSTOP)  # a process of this test's own server
        try:
            with pytest.raises(StoreUnavailable, match="does not answer"):
                await database.write(fill("a"))
            assert not database.ready
        finally:
            os.kill(backend, signal.SIGCONT)
        await wait_until(lambda: database.ready)
        assert await database.write(fill("b")) == "b"


async def test_deadlock_between_two_daemons_is_resolved(opened: Opened) -> None:
    url = cluster().new_database()
    async with opened(url) as one, opened(url) as two:
        await one.write(lambda c: c.execute(text("INSERT INTO probe (filler) VALUES ('a'), ('b')")))
        met = asyncio.Barrier(2)
        loop = asyncio.get_running_loop()

        def crossing(first: str, second: str) -> Callable[[Connection], int]:
            tries = 0

            def run(connection: Connection) -> int:
                nonlocal tries
                tries += 1
                update = text("UPDATE probe SET filler = filler WHERE filler = :v")
                connection.execute(update, {"v": first})
                if tries == 1:
                    asyncio.run_coroutine_threadsafe(met.wait(), loop).result(10)
                connection.execute(update, {"v": second})
                return tries

            return run

        tries = await asyncio.gather(
            one.write(crossing("a", "b")),
            two.write(crossing("b", "a")),
        )
        assert sorted(tries) == [1, 2]
        assert one.ready
        assert two.ready


async def test_unreachable_store_is_named_at_start(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://postgres@/none?host={tmp_path}"
    database = Database(StoreConfig(), url, Metrics())
    with pytest.raises(StoreUnavailable, match="cannot open the store"):
        await database.start()
    await database.stop()


async def test_newer_store_refuses_to_start(store_url: str, opened: Opened) -> None:
    async with opened(store_url) as database:
        await database.write(
            lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        )
    with pytest.raises(StoreTooNew, match="9999"):
        await Database(StoreConfig(), store_url, Metrics()).start()


async def test_a_read_sees_one_snapshot(store_url: str, opened: Opened) -> None:
    async with opened(store_url) as database:
        between, go_on = threading.Event(), threading.Event()

        def count_twice(connection: Connection) -> list[int | None]:
            count = text("SELECT count(*) FROM probe")
            first = connection.execute(count).scalar()
            between.set()
            assert go_on.wait(10)
            return [first, connection.execute(count).scalar()]

        reading = asyncio.create_task(database.read(count_twice))
        await wait_until(between.is_set)
        await database.write(fill("a"))
        go_on.set()
        assert await reading == [0, 0]

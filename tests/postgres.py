"""A private PostgreSQL for the tests: own data directory, Unix socket only, gone at the end."""

import atexit
import functools
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

_USER = "postgres"


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


class Cluster:
    """A running server; PostgreSQL refuses to run as root, so root becomes `postgres`."""

    def __init__(self, binaries: Path) -> None:
        self._names = itertools.count(1)
        # A short path: a Unix socket's name has 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="okpg-", dir="/tmp"))
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self.directory, _USER, _USER)
            self._as_user = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]
        data = self.directory / "data"
        self._run(
            [
                str(binaries / "initdb"),
                "-D",
                str(data),
                "-U",
                _USER,
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-sync",
                "--locale=C.UTF-8",
            ]
        )
        server = [str(binaries / "postgres"), "-D", str(data), "-k", str(self.directory)]
        for setting in ("listen_addresses=", "fsync=off", "max_connections=60"):
            server += ["-c", setting]
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*self._as_user, *server],
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self.directory,
            )
        ready = [str(binaries / "pg_isready"), "-h", str(self.directory), "-t", "20"]
        self._run(ready, patient=True)

    def _run(self, command: list[str], *, patient: bool = False) -> None:
        for _ in range(100 if patient else 1):
            done = subprocess.run(
                [*self._as_user, *command],
                capture_output=True, check=False, cwd=self.directory, timeout=60,
            )  # fmt: skip
            if done.returncode == 0:
                return
        raise AssertionError(f"{command}: {done.stdout!r} {done.stderr!r}")

    def new_database(self) -> str:
        """Return the SQLAlchemy URL of an empty database."""
        name = f"t{next(self._names)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://{_USER}@/{name}?host={self.directory}"

    def connect(self, database: str = _USER) -> psycopg.Connection:
        """Return a connection of its own, in autocommit mode."""
        return psycopg.connect(
            host=str(self.directory), user=_USER, dbname=database, autocommit=True
        )

    def send_signal(self, number: signal.Signals) -> None:
        """Signal the server itself."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """End the server (SIGINT: without waiting for clients) and remove its files."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(20)
        shutil.rmtree(self.directory, ignore_errors=True)


@functools.cache
def cluster() -> Cluster:
    """Return the one server of this test run; skips the test where PostgreSQL is not installed."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed")
    running = Cluster(binaries)
    atexit.register(running.stop)
    return running


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of an empty store, once per database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.sqlite'}"
    else:
        yield cluster().new_database()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of an empty SQLite store."""
    return f"sqlite:///{tmp_path / 'store.sqlite'}"

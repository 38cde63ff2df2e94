import asyncio
import hashlib
import io
import sqlite3
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from sqlalchemy import Connection, insert

from gateway.accounts import passwords
from gateway.accounts.adding import add_account, password_from
from gateway.accounts.desk import AccountDesk
from gateway.accounts.model import AccountChanged, AccountKind
from gateway.config import StoreConfig
from gateway.metrics import Metrics
from gateway.store.database import Database
from gateway.store.schema import SIP_ACCOUNTS
from tests.gateway.incidents.conftest import ManualClock, sqlite_at
from tests.postgres import store_url

__all__ = ["store_url"]

REALM = "onekey.test"
SECRET = "correct-horse-9"


@pytest.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    database = Database(StoreConfig(), store_url, Metrics())
    await database.start()
    yield database
    await database.stop()


def digest(user: str, password: str, realm: str = REALM) -> str:
    text = f"{user}:{realm}:{password}".encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


async def desk_on(
    database: Database, changes: list[AccountChanged] | None = None, realm: str = REALM
) -> AccountDesk:
    heard = changes if changes is not None else []
    desk = AccountDesk(database, ManualClock(), realm, heard.append)
    await desk.load()
    return desk


async def test_an_account_is_found_by_its_user(database: Database) -> None:
    desk = await desk_on(database)
    await desk.put("phone-1", SECRET, AccountKind.TERMINAL, "t-1")
    await desk.put("2001", SECRET, AccountKind.AGENT, "anna")
    assert desk.ha1("phone-1") == digest("phone-1", SECRET)
    assert (desk.terminal_of("phone-1"), desk.agent_of("phone-1")) == ("t-1", None)
    assert (desk.terminal_of("2001"), desk.agent_of("2001")) == (None, "anna")
    assert (desk.ha1("nobody"), desk.terminal_of("nobody"), len(desk)) == (None, None, 2)
    again = await desk_on(database)
    assert again.ha1("2001") == digest("2001", SECRET)
    assert again.agent_of("2001") == "anna"


def test_the_digest_is_the_one_of_the_rfc() -> None:
    # RFC 2617 §3.5; the value is its A1 hashed.
    made = passwords.ha1("Mufasa", "testrealm@host.com", "Circle Of Life")
    assert made.hex() == "939e7578ed9e3c518a452acee763bce9"


async def test_changes_are_told_here_and_by_other_processes(database: Database) -> None:
    heard: list[AccountChanged] = []
    desk = await desk_on(database, heard)
    command = AccountDesk(database, ManualClock(), REALM)
    await command.put("phone-1", SECRET, AccountKind.TERMINAL, "t-1")
    assert desk.ha1("phone-1") is None
    await desk.refresh()
    await desk.refresh()
    assert heard == [AccountChanged("phone-1", digest("phone-1", SECRET))]
    assert await command.remove("phone-1")
    assert not await command.remove("phone-1")
    await desk.refresh()
    assert heard[1:] == [AccountChanged("phone-1", None)]
    assert (desk.ha1("phone-1"), len(desk)) == (None, 0)
    assert len(await desk_on(database)) == 0
    await desk.put("phone-1", "another-password", AccountKind.TERMINAL, "t-1")
    assert heard[2:] == [AccountChanged("phone-1", digest("phone-1", "another-password"))]


async def test_a_removed_account_leaves_no_digest(tmp_path: Path) -> None:
    database = Database(StoreConfig(), sqlite_at(tmp_path), Metrics())
    await database.start()
    desk = await desk_on(database)
    await desk.put("phone-1", SECRET, AccountKind.TERMINAL, "t-1")
    assert await desk.remove("phone-1")
    await database.stop()
    store = sqlite3.connect(tmp_path / "store.sqlite")
    assert store.execute("SELECT ha1, enabled FROM sip_accounts").fetchall() == [("", 0)]
    store.close()


async def test_accounts_of_another_realm_are_void(database: Database) -> None:
    desk = await desk_on(database)
    await desk.put("phone-1", SECRET, AccountKind.TERMINAL, "t-1")
    with structlog.testing.capture_logs() as logs:
        moved = await desk_on(database, realm="moved.test")
    assert moved.ha1("phone-1") is None
    assert [line["count"] for line in logs if line["event"] == "accounts_of_another_realm"] == [1]


async def test_the_password_is_nowhere(tmp_path: Path) -> None:
    database = Database(StoreConfig(), sqlite_at(tmp_path), Metrics())
    await database.start()
    with structlog.testing.capture_logs() as logs:
        desk = await desk_on(database)
        await desk.put("phone-1", SECRET, AccountKind.TERMINAL, "t-1")
        for bad in (SECRET[:8], f"{SECRET}\n"):
            with pytest.raises(ValueError, match="a password") as caught:
                await desk.put("phone-1", bad, AccountKind.TERMINAL, "t-1")
            assert bad.strip() not in str(caught.value)
    await database.stop()
    assert any(line["event"] == "account_put" for line in logs)
    assert contents(tmp_path)
    assert SECRET not in str(logs)
    assert digest("phone-1", SECRET) not in str(logs)
    assert not [name for name, kept in contents(tmp_path).items() if SECRET.encode() in kept]


@pytest.mark.parametrize("user", ["", "a b", "a:b", 'a"b', "a@b", "-a", "x" * 65, "老人"])
async def test_a_user_that_needs_escaping_is_refused(database: Database, user: str) -> None:
    with pytest.raises(ValueError, match="a user is"):
        await (await desk_on(database)).put(user, SECRET, AccountKind.AGENT, None)


@pytest.mark.parametrize("password", ["", "short", "aaaaaaaaaaaaaa", "my-phone-1-is-it", " " * 14])
def test_a_weak_password_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="a password"):
        passwords.check(password, "phone-1")


def test_a_realm_is_a_host_name() -> None:
    with pytest.raises(ValueError, match="realm"):
        passwords.check_realm('a"b')


def test_passwords_that_are_made_are_strong_and_all_different() -> None:
    made = {passwords.generate() for _ in range(200)}
    assert len(made) == 200
    for password in made:
        passwords.check(password, "phone-1")
        assert not set(password) & set("01ilo")


async def test_adding_makes_a_password_once_or_takes_one(database: Database) -> None:
    desk = await desk_on(database)
    made = await add_account(desk, "phone-1", terminal="t-1")
    assert made is not None
    assert desk.ha1("phone-1") == digest("phone-1", made)
    given = password_from(io.StringIO(f"{SECRET}\r\nmore\n"))
    assert await add_account(desk, "2001", agent="anna", password=given) is None
    assert desk.ha1("2001") == digest("2001", SECRET)
    for owners in ({}, {"terminal": "t", "agent": "a"}):
        with pytest.raises(ValueError, match="terminal's or an agent's"):
            await add_account(desk, "x", **owners)
    with pytest.raises(ValueError, match="a password has"):
        password_from(io.StringIO("x" * 5000))
    with pytest.raises(ValueError, match="a password has"):
        await add_account(desk, "2002", agent="anna", password="")


async def test_many_accounts_need_little_memory_and_a_look_takes_only_news(tmp_path: Path) -> None:
    database = Database(StoreConfig(), sqlite_at(tmp_path), Metrics())
    await database.start()
    count = 20_000

    def fill(connection: Connection) -> None:
        rows = [
            {"user": f"phone-{n:06d}", "realm": REALM, "ha1": f"{n:032x}", "kind": "terminal",
             "owner": f"phone-{n:06d}", "enabled": True, "changed_at": n / 1000}
            for n in range(count)
        ]  # fmt: skip
        connection.execute(insert(SIP_ACCOUNTS), rows)

    await database.write(fill)
    tracemalloc.start()
    desk = await desk_on(database)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(desk) == count
    assert kept / count < 400, "bytes of an account"
    assert desk.ha1("phone-000255") == f"{255:032x}"
    await desk.refresh()
    assert len(desk) == count
    await database.stop()


async def test_following_ends_when_it_is_told_to(database: Database) -> None:
    desk = await desk_on(database)
    following = asyncio.create_task(desk.follow())
    await asyncio.sleep(0)
    following.cancel()
    assert isinstance((await asyncio.gather(following, return_exceptions=True))[0], BaseException)

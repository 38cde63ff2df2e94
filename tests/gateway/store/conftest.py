from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from gateway.config import StoreConfig
from gateway.metrics import Metrics
from gateway.store.database import Database
from tests.postgres import sqlite_url, store_url

__all__ = ["opened", "sqlite_url", "store_url"]

Opened = Callable[..., AbstractAsyncContextManager[Database]]


@asynccontextmanager
async def open_database(
    url: str, *, busy_timeout_s: float = 5.0, queue_max: int = 1000
) -> AsyncIterator[Database]:
    config = StoreConfig(busy_timeout_s=busy_timeout_s, queue_max=queue_max)
    database = Database(config, url, Metrics())
    await database.start()
    try:
        yield database
    finally:
        await database.stop()


@pytest.fixture
def opened() -> Opened:
    return open_database

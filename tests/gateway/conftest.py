from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.incidents.conftest import Office, make_office, sqlite_at


@pytest.fixture
async def sqlite_office(tmp_path: Path) -> AsyncIterator[Office]:
    """Return a desk on `tmp_path/store.sqlite`."""
    office = make_office(sqlite_at(tmp_path))
    await office.database.start()
    yield office
    await office.database.stop()

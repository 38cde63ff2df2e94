"""A served world and a client of it."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
import pytest

from gateway.web.app import WebServer
from tests.gateway.web.world import TOKEN, World, furnish


class Served(NamedTuple):
    world: World
    server: WebServer
    http: aiohttp.ClientSession


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    world = World()
    furnish(world)
    async with world.serve() as server, aiohttp.ClientSession(server.url) as http:
        yield Served(world, server, http)


@pytest.fixture
async def locked() -> AsyncIterator[Served]:
    world = World(token=TOKEN)
    furnish(world)
    async with world.serve() as server, aiohttp.ClientSession(server.url) as http:
        yield Served(world, server, http)

"""A ledger on each database."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.ledger_world import World, open_world


@pytest_asyncio.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """An empty ledger, on SQLite and on PostgreSQL."""
    async with open_world(database_url) as opened:
        yield opened

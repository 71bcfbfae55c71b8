"""A ledger on each database, and a warehouse in DuckDB."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from outdial.adapters.duckdb import DuckDBWarehouse
from outdial.ports.warehouse import Warehouse
from tests.ledger_world import World, open_world


@pytest_asyncio.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """An empty ledger, on SQLite and on PostgreSQL."""
    async with open_world(database_url) as opened:
        yield opened


@pytest.fixture
def open_warehouse(tmp_path: Path) -> Callable[[], Warehouse]:
    """Opens the test's own warehouse, again if asked again; its folder is not there yet."""
    return lambda: DuckDBWarehouse(tmp_path / "deep" / "warehouse.duckdb")


@pytest_asyncio.fixture
async def warehouse(open_warehouse: Callable[[], Warehouse]) -> AsyncIterator[Warehouse]:
    """An empty warehouse."""
    adapter = open_warehouse()
    await adapter.upgrade()
    yield adapter
    await adapter.close()

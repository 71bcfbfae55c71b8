"""A Snowflake in this very process, for the tests that run in its environment."""

import importlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from outdial.adapters.snowflake import Address, SnowflakeWarehouse

#: Its password opens nothing: the stand-in asks for none.
URL = "snowflake://loader:none@account/OUTDIAL/ANALYTICS?warehouse=W&role=R"


@pytest.fixture
def snowflake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty account in place of the connector's `connect`."""
    fakesnow = importlib.import_module("fakesnow")
    # It notes every new table's comment in a database of its own, its own tables within a `MERGE`
    # too, and can't write to two databases in one transaction.
    info = importlib.import_module("fakesnow.info_schema")
    monkeypatch.setattr(info, "insert_table_comment_sql", lambda *_: "SELECT 1")
    with fakesnow.patch():
        yield


@pytest.fixture
def open_warehouse(snowflake: None) -> Callable[[], SnowflakeWarehouse]:
    """Opens the test's own warehouse, again if asked again."""
    return lambda: SnowflakeWarehouse(Address.of(URL))


@pytest_asyncio.fixture
async def warehouse(
    open_warehouse: Callable[[], SnowflakeWarehouse],
) -> AsyncIterator[SnowflakeWarehouse]:
    """An empty warehouse."""
    adapter = open_warehouse()
    await adapter.upgrade()
    yield adapter
    await adapter.close()

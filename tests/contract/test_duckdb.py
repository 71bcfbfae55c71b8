"""What DuckDB's warehouse promises besides: it is a file, and one process owns it."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from outdial.adapters.duckdb import DuckDBWarehouse
from outdial.errors import ConfigurationError, Unavailable
from tests.contract.test_warehouse import scalar
from tests.warehouse_rows import attempt_row, call_row


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the warehouse goes; its folder is not there yet."""
    return tmp_path / "deep" / "warehouse.duckdb"


async def test_upgrade_adds_columns_of_later_releases(path: Path) -> None:
    """A table that an older release made gets what it lacks, and keeps its rows."""
    warehouse = DuckDBWarehouse(path)
    await warehouse.upgrade()
    await warehouse.load([call_row(call_id="old")], [], [], 5)
    await warehouse.query("ALTER TABLE calls DROP COLUMN external_id")
    await warehouse.upgrade()
    _, rows = await warehouse.query("SELECT call_id, external_id FROM calls")
    assert rows == [("old", None)]
    await warehouse.close()


async def test_a_query_that_takes_too_long_is_given_up(path: Path) -> None:
    """One endless question does not keep all others waiting."""
    warehouse = DuckDBWarehouse(path, query_seconds=0.2)
    with pytest.raises(Unavailable):
        await warehouse.query("SELECT count(*) FROM range(1000000000) a, range(1000000000) b")
    assert await scalar(warehouse, "SELECT 1") == 1
    await warehouse.close()


_MEDIAN_OF_MANY = "SELECT quantile_cont(range, 0.5) FROM range(2000001)"


async def test_a_question_that_does_not_fit_in_memory_is_given_more(path: Path) -> None:
    """Percentiles hold their column in memory, however many calls there are; up to a limit."""
    roomy = DuckDBWarehouse(path, memory=8)
    assert await scalar(roomy, _MEDIAN_OF_MANY) == 1_000_000
    await roomy.close()
    tight = DuckDBWarehouse(path, memory=8, most_memory=8)
    with pytest.raises(Unavailable, match="Memory"):
        await tight.query(_MEDIAN_OF_MANY)
    assert await scalar(tight, "SELECT 1") == 1
    await tight.close()


def _hold(path: str, ready: "multiprocessing.synchronize.Event") -> None:
    import asyncio  # noqa: PLC0415 - in the child

    async def hold() -> None:
        warehouse = DuckDBWarehouse(Path(path))
        await warehouse.upgrade()
        await warehouse.load([call_row(call_id="held")], [], [], 5)
        ready.set()
        await asyncio.Event().wait()

    asyncio.run(hold())


async def test_a_second_process_is_told_who_owns_the_file_and_a_crash_loses_nothing(
    path: Path,
) -> None:
    """DuckDB's file has one owner; when that is killed, what it had loaded is there."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    owner = context.Process(target=_hold, args=(str(path), ready), daemon=True)
    owner.start()
    assert ready.wait(60)
    warehouse = DuckDBWarehouse(path)
    with pytest.raises(Unavailable, match=f"process {owner.pid} has .* open"):
        await warehouse.query("SELECT 1")
    os.kill(owner.pid or 0, signal.SIGKILL)
    owner.join(60)
    assert await scalar(warehouse, "SELECT call_id FROM calls") == "held"
    assert await warehouse.as_of() == 5
    await warehouse.close()


async def test_what_is_no_warehouse_is_a_matter_of_configuration(tmp_path: Path) -> None:
    """A file of another kind, or a folder that can't be made, is one clear line."""
    strange = tmp_path / "strange"
    strange.write_text("not a database, and long enough to be looked at " * 400)
    for path in (strange, strange / "below" / "warehouse.duckdb"):
        warehouse = DuckDBWarehouse(path)
        with pytest.raises(ConfigurationError, match="warehouse") as caught:
            await warehouse.upgrade()
        assert "\n" not in str(caught.value)
        await warehouse.close()


async def test_the_file_does_not_grow_with_changes(path: Path) -> None:
    """Changing the same rows over and over keeps the file near its size."""
    warehouse = DuckDBWarehouse(path)
    await warehouse.upgrade()
    rows = [attempt_row(call_id=str(n), call_summary=f"{n} " * 40) for n in range(500)]
    sizes = []
    for version in range(1, 61):
        await warehouse.load([], [row | {"version": version} for row in rows], [], version)
        if version in {30, 60}:
            await warehouse.query("CHECKPOINT")
            sizes.append(path.stat().st_size)  # noqa: ASYNC240 - a local file
    assert sizes[1] < 2 * sizes[0] + 1_000_000
    await warehouse.close()

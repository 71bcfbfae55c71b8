"""What every warehouse promises its loader and its askers.

Runs on DuckDB here, and on Snowflake's stand-in by `test_snowflake.py`: which one is the business
of the fixtures `warehouse` and `open_warehouse`.
"""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from outdial.errors import Unavailable
from outdial.ports.warehouse import Warehouse
from tests.warehouse_rows import activity_row, attempt_row, call_row, realistic


async def scalar(warehouse: Warehouse, sql: str, *parameters: object) -> object:
    """The first cell of an answer."""
    _, rows = await warehouse.query(sql, parameters)
    return rows[0][0]


async def test_upgrade_again_keeps_rows(warehouse: Warehouse) -> None:
    """Upgrading is idempotent."""
    await warehouse.load([call_row()], [], [], 5)
    await warehouse.upgrade()
    assert await scalar(warehouse, "SELECT count(*) FROM calls") == 1


async def test_loading_twice_is_loading_once(warehouse: Warehouse) -> None:
    """The same load again changes nothing."""
    rows = realistic(50, until=1_700_000_000_000, span_ms=60_000)
    for _ in range(2):
        await warehouse.load(rows.calls, rows.attempts, rows.activity, 1)
    for table, loaded in (
        ("calls", rows.calls),
        ("call_attempts", rows.attempts),
        ("activity_events", rows.activity),
    ):
        assert await scalar(warehouse, f"SELECT count(*) FROM {table}") == len(loaded)  # noqa: S608 - names of ours


async def test_newer_version_replaces(warehouse: Warehouse) -> None:
    """A later version of a row takes its place."""
    row = attempt_row(attempt_id="a", call_id="c", version=1, status="claimed")
    await warehouse.load([], [row], [], 1)
    await warehouse.load([], [row | {"version": 2, "status": "started"}], [], 2)
    _, rows = await warehouse.query("SELECT version, status FROM call_attempts")
    assert rows == [(2, "started")]


async def test_older_version_never_replaces(warehouse: Warehouse) -> None:
    """An earlier version that comes late is left out, also within one load."""
    row = attempt_row(attempt_id="a", call_id="c", version=3, status="started")
    await warehouse.load([], [row, row | {"version": 2, "status": "initiated"}], [], 1)
    await warehouse.load([], [row | {"version": 1, "status": "claimed"}], [], 2)
    _, rows = await warehouse.query("SELECT version, status FROM call_attempts")
    assert rows == [(3, "started")]


async def test_activity_is_append_only(warehouse: Warehouse) -> None:
    """An event that is there stays as it is."""
    event = activity_row(event_id="e", call_id="c", type="voice_call.initiated")
    await warehouse.load([], [], [event], 1)
    await warehouse.load([], [], [event | {"type": "voice_call.failed"}, event], 2)
    _, rows = await warehouse.query("SELECT event_id, type FROM activity_events")
    assert rows == [("e", "voice_call.initiated")]


async def test_values_come_back_as_they_went_in(warehouse: Warehouse) -> None:
    """Text of any script, quotes, line ends, NUL, long texts, nulls, flags and fractions stay."""
    text = "O'Brien said: \"ça va?\"\r\n\t日本語 🎧 \\u0000 \x00 {'a': [1]} --; DROP TABLE calls"
    row = attempt_row(
        call_id="c",
        transcript=text * 50_000,
        call_summary=text,
        metadata='{"a": "ü", "b": [1, null]}',
        cost_usd=0.123456,
        connected=True,
        call_successful=False,
        duration_ms=2**53,
    )
    await warehouse.load([], [row], [], 1)
    columns, rows = await warehouse.query("SELECT * FROM call_attempts")
    assert dict(zip(columns, rows[0], strict=True)) == row


async def test_large_loads_are_whole(warehouse: Warehouse) -> None:
    """A load of more rows than one statement takes is still one load."""
    rows = [call_row() for _ in range(4_500)]
    await warehouse.load(rows, [], [], 1)
    assert await scalar(warehouse, "SELECT count(DISTINCT call_id) FROM calls") == 4_500


async def test_a_failed_load_leaves_nothing(warehouse: Warehouse) -> None:
    """Where one row can't be stored, no row of the load is, and later loads go on."""
    with pytest.raises(Unavailable):
        await warehouse.load([call_row()], [attempt_row(number="no number")], [], 9)
    assert await scalar(warehouse, "SELECT count(*) FROM calls") == 0
    assert await warehouse.as_of() is None
    await warehouse.load([call_row()], [], [], 10)
    assert await scalar(warehouse, "SELECT count(*) FROM calls") == 1


async def test_freshness_is_what_the_last_load_said(warehouse: Warehouse) -> None:
    """None before the first load; a load that says nothing of it leaves it."""
    assert await warehouse.as_of() is None
    await warehouse.load([call_row()], [], [], 100)
    await warehouse.load([call_row()], [], [], None)
    assert await warehouse.as_of() == 100
    await warehouse.load([], [], [], 200)
    assert await warehouse.as_of() == 200


async def test_freshness_outlives_the_process(open_warehouse: Callable[[], Warehouse]) -> None:
    """A clean close keeps rows and freshness, also one told without rows."""
    first = open_warehouse()
    await first.upgrade()
    await first.load([call_row()], [], [], 100)
    await first.load([], [], [], 250)
    await first.close()
    second = open_warehouse()
    assert await second.as_of() == 250
    assert await scalar(second, "SELECT count(*) FROM calls") == 1
    await second.close()


async def test_clear_empties_all(warehouse: Warehouse) -> None:
    """Clearing leaves no row and no freshness."""
    rows = realistic(20, until=1_700_000_000_000, span_ms=60_000)
    await warehouse.load(rows.calls, rows.attempts, rows.activity, 7)
    await warehouse.clear()
    for table in ("calls", "call_attempts", "activity_events"):
        assert await scalar(warehouse, f"SELECT count(*) FROM {table}") == 0  # noqa: S608 - names of ours
    assert await warehouse.as_of() is None


async def test_bad_sql_is_no_driver_error(warehouse: Warehouse) -> None:
    """The driver's own errors never leave the adapter, and the next question is answered."""
    with pytest.raises(Unavailable, match="warehouse unavailable"):
        await warehouse.query("SELECT nothing FROM nowhere")
    assert await scalar(warehouse, "SELECT 1") == 1


async def test_parquet_holds_what_the_select_gives(warehouse: Warehouse, tmp_path: Path) -> None:
    """A Parquet export of a parametrised SELECT reads back alike, whatever its path."""
    await warehouse.load([call_row(call_id="a"), call_row(call_id="b")], [], [], 1)
    target = tmp_path / "it's.parquet"
    await warehouse.export_parquet("SELECT call_id FROM calls WHERE call_id <> ?", ["b"], target)
    with duckdb.connect() as connection:
        found = connection.execute("SELECT call_id FROM read_parquet(?)", [str(target)])
        assert found.fetchall() == [("a",)]

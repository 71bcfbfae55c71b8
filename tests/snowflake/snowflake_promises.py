"""What Snowflake's warehouse promises besides the contract; runs in the stand-in's environment."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from snowflake.connector import SnowflakeConnection

from outdial.adapters.duckdb import DuckDBWarehouse
from outdial.adapters.snowflake import Address, SnowflakeWarehouse
from outdial.adapters.snowflake.schema import MIGRATIONS, Migration
from outdial.adapters.snowflake.sessions import Sessions
from outdial.adapters.snowflake.tables import TABLES, TYPES
from outdial.analytics.metrics import Grain
from outdial.analytics.questions import Filters
from outdial.analytics.records import export
from outdial.analytics.rehearsal import QUESTIONS, rehearse
from outdial.analytics.scope import OwnRows
from outdial.errors import Unavailable
from outdial.ports.warehouse import Warehouse
from tests.snowflake.fakesnow_fixtures import URL
from tests.warehouse_rows import call_row, realistic

_KINDS = {"TEXT": "VARCHAR", "NUMBER": "BIGINT", "FLOAT": "DOUBLE", "BOOLEAN": "BOOLEAN"}


class CountingSessions(Sessions):
    """Notes the statements of every session, and fails the one that `fails` begins."""

    def __init__(self) -> None:
        """Nothing noted yet."""
        super().__init__(Address.of(URL))
        self.statements: list[str] = []
        self.fails: str | None = None
        self.instead: dict[str, str] = {}

    def open(self, *args: Any, **kwargs: Any) -> SnowflakeConnection:
        """As ever, but listened to."""
        connection = super().open(*args, **kwargs)
        cursor = connection.cursor

        def counting() -> Any:
            made: Any = cursor()
            execute = made.execute

            def executing(sql: str, *parameters: Any) -> Any:
                self.statements.append(sql)
                if self.fails is not None and sql.startswith(self.fails):
                    raise made_error("the network is gone")
                return execute(self.instead.get(sql.partition(" ")[0], sql), *parameters)

            made.execute = executing
            return made

        connection.cursor = counting  # type: ignore[method-assign,assignment]
        return connection


def made_error(text: str) -> Exception:
    """As the connector raises them."""
    from snowflake.connector.errors import OperationalError  # noqa: PLC0415 - of its environment

    return OperationalError(text)


async def test_migrations_make_the_ports_columns(warehouse: SnowflakeWarehouse) -> None:
    """What the migrations leave is what the loader and the questions take for granted."""
    for table in TABLES:
        _, rows = await warehouse.query(
            "SELECT LOWER(column_name), data_type FROM information_schema.columns "
            "WHERE table_name = ? ORDER BY ordinal_position",
            [table.name.upper()],
        )
        found = {name: _KINDS[kind] for name, kind in rows}
        assert found == {name: TYPES[kind] for name, kind in table.columns.items()}
        assert list(found) == list(table.columns)


async def test_a_later_migration_runs_once_and_keeps_rows(warehouse: SnowflakeWarehouse) -> None:
    """What is pending is told by name; afterwards nothing is."""
    await warehouse.load([call_row(call_id="old")], [], [], 5)
    later = Migration(2, "a colour", ("ALTER TABLE calls ADD COLUMN IF NOT EXISTS colour VARCHAR",))
    newer = SnowflakeWarehouse(warehouse.address, migrations=(*MIGRATIONS, later))
    assert await newer.pending_migrations() == ["0002 a colour"]
    for _ in range(2):
        await newer.upgrade()
    assert await newer.pending_migrations() == []
    _, rows = await newer.query("SELECT call_id, colour FROM calls")
    assert rows == [("old", None)]
    await newer.close()


async def test_an_empty_schema_lacks_every_migration(
    open_warehouse: Callable[[], SnowflakeWarehouse],
) -> None:
    """Before the first upgrade the doctor can say what to run."""
    warehouse = open_warehouse()
    assert await warehouse.pending_migrations() == ["0001 the tables"]
    await warehouse.close()


async def test_the_doctor_looks_at_schema_and_rights(
    open_warehouse: Callable[[], SnowflakeWarehouse],
) -> None:
    """What the stand-in can't be asked is a finding too, and hides no other."""
    warehouse = open_warehouse()
    found = {finding.name: finding async for finding in warehouse.examine()}
    assert found["schema"].mend == "run `outdial warehouse upgrade`"
    assert found["rights"].state == "fault"
    await warehouse.upgrade()
    await warehouse.load([call_row()], [], [], 5)
    found = {finding.name: finding async for finding in warehouse.examine()}
    assert {name: finding.state for name, finding in found.items()} == {
        "sign in": "fault",
        "session": "fault",
        "compute": "fault",
        "schema": "ok",
        "rights": "ok",
    }
    _, rows = await warehouse.query("SELECT count(*) FROM calls")
    assert rows == [(1,)]
    await warehouse.close()


async def test_a_load_is_a_handful_of_statements(warehouse: SnowflakeWarehouse) -> None:
    """However many rows; none of them one by one."""
    counts = []
    for number in (10, 400):
        sessions = CountingSessions()
        counted = SnowflakeWarehouse(warehouse.address, sessions=sessions)
        rows = realistic(number, until=1_700_000_000_000, span_ms=60_000)
        await counted.load(rows.calls, rows.attempts, rows.activity, number)
        counts.append(len(sessions.statements))
        await counted.close()
    assert counts == [16, 16]


@pytest.mark.parametrize("step", ["PUT", "COPY", "MERGE INTO call_attempts", "COMMIT"])
async def test_a_load_that_breaks_off_anywhere_is_made_up_by_the_next(
    warehouse: SnowflakeWarehouse, step: str
) -> None:
    """Nothing of it is there; the same load again brings all of it."""
    rows = realistic(20, until=1_700_000_000_000, span_ms=60_000)
    sessions = CountingSessions()
    broken = SnowflakeWarehouse(warehouse.address, sessions=sessions)
    sessions.fails = step
    with pytest.raises(Unavailable, match="the network is gone"):
        await broken.load(rows.calls, rows.attempts, rows.activity, 1)
    _, found = await warehouse.query("SELECT count(*) FROM calls")
    assert found == [(0,)]
    assert await warehouse.as_of() is None
    sessions.fails = None
    await broken.load(rows.calls, rows.attempts, rows.activity, 1)
    _, found = await warehouse.query("SELECT count(*) FROM call_attempts")
    assert found == [(len(rows.attempts),)]
    await broken.close()


async def test_staged_rows_that_are_not_copied_are_missed(warehouse: SnowflakeWarehouse) -> None:
    """Snowflake says nothing of a file that it does not find."""
    sessions = CountingSessions()
    sessions.instead = {"PUT": "SELECT 1"}
    losing = SnowflakeWarehouse(warehouse.address, sessions=sessions)
    with pytest.raises(Unavailable, match="0 of 1 staged rows"):
        await losing.load([call_row()], [], [], 1)
    await losing.close()


async def test_another_process_reads_the_freshness(
    open_warehouse: Callable[[], SnowflakeWarehouse],
) -> None:
    """The web API does not load; what it reads is some seconds old, or newer."""
    now = 0.0
    loading = open_warehouse()
    await loading.upgrade()
    reading = SnowflakeWarehouse(loading.address, monotonic=lambda: now)
    assert await reading.as_of() is None
    await loading.load([call_row()], [], [], 100_000)
    assert await reading.as_of() is None
    now = 5.0
    assert await reading.as_of() == 100_000
    await loading.load([], [], [], 130_000)
    now = 10.0
    assert await reading.as_of() == 100_000, "a change of freshness alone is told once a minute"
    await loading.load([], [], [], 160_000)
    now = 15.0
    assert await reading.as_of() == 160_000
    await reading.close()
    await loading.close()


async def test_every_question_is_answered_as_duckdb_answers_it(
    warehouse: SnowflakeWarehouse, tmp_path: Path
) -> None:
    """Metrics, dimensions, funnel, latency, rows; and what is stored comes back."""
    duck = DuckDBWarehouse(tmp_path / "w.duckdb")
    await duck.upgrade()
    async with warehouse.rehearsal() as rehearsed:
        # One zone will do here, and takes a third of the time.
        asked = [each for each in QUESTIONS if not each.endswith((" in UTC", "/Berlin"))]
        assert [told async for told in rehearse(rehearsed, duck, 40, asked)] == []
    await duck.close()


async def test_a_rehearsal_touches_nothing(warehouse: SnowflakeWarehouse) -> None:
    """Its tables hide the real ones from its own session only, and go with it."""
    await warehouse.load([call_row(call_id="real")], [], [], 5)
    async with warehouse.rehearsal() as rehearsed:
        await rehearsed.load([call_row(call_id="made up")], [], [], None)
        _, rows = await rehearsed.query("SELECT call_id FROM calls")
        assert rows == [("made up",)]
    _, rows = await warehouse.query("SELECT call_id FROM calls")
    assert rows == [("real",)]
    assert await warehouse.as_of() == 5


async def test_a_difference_is_told(warehouse: SnowflakeWarehouse, tmp_path: Path) -> None:
    """A warehouse whose weeks begin on another day does not pass for the same."""

    class Sunday(DuckDBWarehouse):
        async def query(
            self, sql: str, parameters: Any = ()
        ) -> tuple[list[str], list[tuple[Any, ...]]]:
            return await super().query(sql.replace("isodow", "dow"), parameters)

    duck = Sunday(tmp_path / "w.duckdb")
    await duck.upgrade()
    async with warehouse.rehearsal() as rehearsed:
        found = [told async for told in rehearse(rehearsed, duck, 30, ["weekday in UTC"])]
    assert found
    assert all(told.startswith("weekday in UTC: ") for told in found)
    await duck.close()


async def test_exports_have_the_types_that_duckdbs_have(
    warehouse: SnowflakeWarehouse, tmp_path: Path
) -> None:
    """Times are timestamps, numbers numbers, flags flags; and the rows are the same."""
    rows = realistic(30, until=1_700_000_000_000, span_ms=60_000)
    duck = DuckDBWarehouse(tmp_path / "w.duckdb")
    await duck.upgrade()
    files = []
    both: tuple[Warehouse, ...] = (warehouse, duck)
    for index, each in enumerate(both):
        await each.load(rows.calls, rows.attempts, rows.activity, 1)
        path = tmp_path / f"{index}.parquet"
        await OwnRows(each, "default").export(*export(Grain.ATTEMPT, Filters()), "UTC", path)
        files.append(str(path))
    with duckdb.connect() as connection:
        types = [
            connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [path]).fetchall()
            for path in files
        ]
        found = [
            connection.execute("SELECT * FROM read_parquet(?)", [path]).fetchall() for path in files
        ]
    assert [row[:2] for row in types[0]] == [row[:2] for row in types[1]]
    assert found[0] == found[1]
    await duck.close()


async def test_no_two_sessions_are_opened_where_one_will_do(warehouse: SnowflakeWarehouse) -> None:
    """Questions one after the other share a session."""
    opened = 0

    class Opening(CountingSessions):
        def open(self, *args: Any, **kwargs: Any) -> SnowflakeConnection:
            nonlocal opened
            opened += 1
            return super().open(*args, **kwargs)

    asking = SnowflakeWarehouse(replace(warehouse.address), sessions=Opening())
    for _ in range(3):
        await asking.query("SELECT 1")
    assert opened == 1
    await asking.close()

"""The warehouse in a DuckDB file, which one process owns.

One connection in one thread: DuckDB lets a single process open a file for writing, and a second
connection would only add memory. Rows come in as one JSON text each and are merged by one
statement a table, which was measured at 100,000 parsed rows a second; one JSON array for all of
them is six times slower, bound parameters thirty times. There are no primary keys: their index
doubles the file and is no faster, since `MERGE` joins on the call id first and UUIDv7 ids let it
skip the old parts of the table.
"""

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import orjson

from outdial.errors import ConfigurationError, Unavailable
from outdial.ports.warehouse import ACTIVITY_COLUMNS, ATTEMPT_COLUMNS, CALL_COLUMNS, Row

T = TypeVar("T")

_TYPES = {
    "text": "VARCHAR",
    "int": "BIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "json": "VARCHAR",
}
#: JSON bytes a statement: bounds what parsing takes, however long the transcripts are.
_STATEMENT_BYTES = 4_000_000
_STATEMENT_ROWS = 2_000
_HELD_BY = re.compile(r"\(PID (\d+)\)")


class _Table:
    """One warehouse table: its columns, its identity, and the statement that merges rows."""

    def __init__(self, name: str, columns: dict[str, str], key: str) -> None:
        self.name = name
        self.columns = columns
        self.key = key
        self.versioned = "version" in columns
        self.merge = self._merge()

    def create(self) -> str:
        columns = ", ".join(f"{name} {_TYPES[kind]}" for name, kind in self.columns.items())
        return f"CREATE TABLE IF NOT EXISTS {self.name} ({columns})"

    def additions(self) -> list[str]:
        """Columns that a table made by an older release lacks."""
        return [
            f"ALTER TABLE {self.name} ADD COLUMN IF NOT EXISTS {name} {_TYPES[kind]}"
            for name, kind in self.columns.items()
        ]

    def texts(self, rows: Sequence[Row]) -> list[str]:
        """Each row once, in its newest version, as JSON of exactly the table's columns."""
        newest: dict[str, Row] = {}
        for row in rows:
            known = newest.get(row[self.key])
            if known is None or (self.versioned and row["version"] > known["version"]):
                newest[row[self.key]] = row
        return [
            orjson.dumps(
                {name: _cell(kind, row.get(name)) for name, kind in self.columns.items()}
            ).decode()
            for row in newest.values()
        ]

    def _merge(self) -> str:
        struct = ", ".join(f'"{name}": "{_TYPES[kind]}"' for name, kind in self.columns.items())
        joined = {"call_id", self.key}
        on = " AND ".join(f"t.{name} = s.{name}" for name in sorted(joined))
        sets = ", ".join(f"{name} = s.{name}" for name in self.columns if name not in joined)
        update = (
            f"WHEN MATCHED AND s.version > t.version THEN UPDATE SET {sets} "
            if self.versioned
            else ""
        )
        names = ", ".join(self.columns)
        values = ", ".join(f"s.{name}" for name in self.columns)
        return (
            f"MERGE INTO {self.name} t USING (SELECT r.* FROM (SELECT "  # noqa: S608 - own names
            f"from_json_strict(j, '{{{struct}}}') AS r FROM (SELECT unnest(?::VARCHAR[]) AS j))) s "
            f"ON {on} {update}WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values})"
        )


_CALLS = _Table("calls", CALL_COLUMNS, "call_id")
_ATTEMPTS = _Table("call_attempts", ATTEMPT_COLUMNS, "attempt_id")
_ACTIVITY = _Table("activity_events", ACTIVITY_COLUMNS, "event_id")
_TABLES = (_CALLS, _ATTEMPTS, _ACTIVITY)


class DuckDBWarehouse:
    """`ports.warehouse.Warehouse` on a DuckDB file."""

    def __init__(
        self,
        path: Path,
        *,
        memory_limit: str = "64MB",
        threads: int = 2,
        query_seconds: float = 60,
    ) -> None:
        """`path` is opened at the first use. A query over `query_seconds` is given up."""
        self._path = path
        self._config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit,
            "threads": threads,
            # Rows are ordered where order matters; keeping theirs costs memory.
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "temp_directory": f"{path}.tmp",
        }
        self._query_seconds = query_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outdial-warehouse")
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._as_of: int | None = None
        self._as_of_stored: int | None = None

    async def upgrade(self) -> None:
        """Create the file and what its tables lack."""
        await self._do(self._upgrade)

    async def load(
        self,
        calls: Sequence[Row],
        attempts: Sequence[Row],
        activity: Sequence[Row],
        as_of: int | None,
    ) -> None:
        """Merge in one transaction; `as_of` alone stays in memory until there are rows."""
        if not (calls or attempts or activity):
            if as_of is not None:
                self._as_of = as_of
            return
        await self._do(partial(self._load, calls, attempts, activity, as_of))

    async def query(
        self, sql: str, parameters: Sequence[Any] = ()
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run one SELECT."""

        def run(connection: duckdb.DuckDBPyConnection) -> tuple[list[str], list[tuple[Any, ...]]]:
            cursor = connection.execute(sql, list(parameters))
            return [column[0] for column in cursor.description], cursor.fetchall()

        return await self._do(self._limited(run))

    async def export_parquet(self, sql: str, parameters: Sequence[Any], path: Path) -> None:
        """Write a SELECT to a Parquet file; `path` is a name of our own making."""
        target = str(path).replace("'", "''")

        def run(connection: duckdb.DuckDBPyConnection) -> None:
            connection.execute(
                f"COPY ({sql}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)", list(parameters)
            )

        await self._do(self._limited(run))

    async def as_of(self) -> int | None:
        """Freshness, as the last load said."""
        if self._as_of is None:
            self._as_of = await self._do(self._read_as_of)
        return self._as_of

    async def clear(self) -> None:
        """Drop all rows and the freshness."""
        await self._do(self._clear)
        self._as_of = None

    async def close(self) -> None:
        """Write what is in memory only, and let go of the file."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    async def _do(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, partial(self._guarded, work)
        )

    def _guarded(self, work: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        connection = self._connection or self._open()
        try:
            return work(connection)
        except duckdb.FatalException as error:
            # DuckDB refuses all further work after one of these: the file has to be opened anew.
            self._connection = None
            connection.close()
            raise _unavailable(error) from None
        except duckdb.Error as error:
            raise _unavailable(error) from None

    def _open(self) -> duckdb.DuckDBPyConnection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = duckdb.connect(str(self._path), config=self._config)
        except OSError as error:
            msg = f"the warehouse's folder {self._path.parent} cannot be made: {error.strerror}"
            raise ConfigurationError(msg) from None
        except duckdb.Error as error:
            raise self._not_opened(error) from None
        return self._connection

    def _not_opened(self, error: duckdb.Error) -> Unavailable | ConfigurationError:
        text = str(error)
        if "lock on file" in text:
            holder = _HELD_BY.search(text)
            process = f"process {holder[1]}" if holder else "another process"
            return Unavailable(
                "warehouse", f"{process} has {self._path} open, and only one at a time can"
            )
        return ConfigurationError(f"the warehouse {self._path} cannot be opened: {_line(error)}")

    def _upgrade(self, connection: duckdb.DuckDBPyConnection) -> None:
        for table in _TABLES:
            connection.execute(table.create())
            for addition in table.additions():
                connection.execute(addition)
        connection.execute("CREATE TABLE IF NOT EXISTS freshness (as_of BIGINT)")

    def _load(
        self,
        calls: Sequence[Row],
        attempts: Sequence[Row],
        activity: Sequence[Row],
        as_of: int | None,
        connection: duckdb.DuckDBPyConnection,
    ) -> None:
        connection.begin()
        try:
            for table, rows in zip(_TABLES, (calls, attempts, activity), strict=True):
                for texts in _portions(table.texts(rows)):
                    connection.execute(table.merge, [texts])
            if as_of is not None:
                _write_as_of(connection, as_of)
            connection.commit()
        except duckdb.Error:
            _roll_back(connection)
            raise
        if as_of is not None:
            self._as_of = self._as_of_stored = as_of

    def _read_as_of(self, connection: duckdb.DuckDBPyConnection) -> int | None:
        row = connection.execute("SELECT max(as_of) FROM freshness").fetchone()
        self._as_of_stored = row[0] if row else None
        return self._as_of_stored

    def _clear(self, connection: duckdb.DuckDBPyConnection) -> None:
        connection.begin()
        try:
            for table in ("freshness", *(table.name for table in _TABLES)):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
            connection.commit()
        except duckdb.Error:
            _roll_back(connection)
            raise
        connection.execute("CHECKPOINT")

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._as_of is not None and self._as_of != self._as_of_stored:
            # Where this fails, freshness is told older than it is, which the port allows.
            with contextlib.suppress(duckdb.Error):
                _write_as_of(connection, self._as_of)
        connection.close()

    def _limited(
        self, work: Callable[[duckdb.DuckDBPyConnection], T]
    ) -> Callable[[duckdb.DuckDBPyConnection], T]:
        """`work`, interrupted when it takes too long: everybody else waits behind it."""

        def limited(connection: duckdb.DuckDBPyConnection) -> T:
            timer = threading.Timer(self._query_seconds, connection.interrupt)
            timer.start()
            try:
                return work(connection)
            finally:
                timer.cancel()

        return limited


def _cell(kind: str, value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    """JSON is stored as its text, whether it comes as text or decoded."""
    if kind != "json" or value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def _portions(texts: list[str]) -> list[list[str]]:
    portions: list[list[str]] = []
    size = 0
    for text in texts:
        if (
            not portions
            or size + len(text) > _STATEMENT_BYTES
            or len(portions[-1]) == _STATEMENT_ROWS
        ):
            portions.append([])
            size = 0
        portions[-1].append(text)
        size += len(text)
    return portions


def _write_as_of(connection: duckdb.DuckDBPyConnection, as_of: int) -> None:
    connection.execute("DELETE FROM freshness")
    connection.execute("INSERT INTO freshness VALUES (?)", [as_of])


def _roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    # The error that led here is the one to tell; a transaction it ended needs no end.
    with contextlib.suppress(duckdb.Error):
        connection.rollback()


def _unavailable(error: duckdb.Error) -> Unavailable:
    return Unavailable("warehouse", _line(error))


def _line(error: duckdb.Error) -> str:
    return str(error).strip().splitlines()[0]

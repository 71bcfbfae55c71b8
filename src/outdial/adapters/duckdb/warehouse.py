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

from outdial.adapters.duckdb.tables import TABLES, portions
from outdial.errors import ConfigurationError, Unavailable
from outdial.ports.warehouse import Row

T = TypeVar("T")

_HELD_BY = re.compile(r"\(PID (\d+)\)")


class DuckDBWarehouse:
    """`ports.warehouse.Warehouse` on a DuckDB file."""

    def __init__(
        self,
        path: Path,
        *,
        memory: int = 32,
        most_memory: int = 1024,
        threads: int = 2,
        query_seconds: float = 60,
    ) -> None:
        """`path` is opened at the first use. A query over `query_seconds` is given up.

        `memory`: MB that DuckDB may take. Doubled, up to `most_memory`, when work does not fit:
        percentiles hold a column in memory, and a million attempts need more than 64 MB, while
        DuckDB fills whatever it is given with pages that nobody asks for again.
        """
        self._path = path
        self._memory = memory
        self._most_memory = most_memory
        self._config: dict[str, str | bool | int | float | list[str]] = {
            "threads": threads,
            # Freed memory goes back to the system: by default 128 MB of it may stay.
            "allocator_flush_threshold": "1MB",
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
            return self._fitting(work, connection)
        except duckdb.FatalException as error:
            # DuckDB refuses all further work after one of these: the file has to be opened anew.
            self._connection = None
            connection.close()
            raise _unavailable(error) from None
        except duckdb.Error as error:
            raise _unavailable(error) from None

    def _fitting(
        self, work: Callable[[duckdb.DuckDBPyConnection], T], connection: duckdb.DuckDBPyConnection
    ) -> T:
        """Do `work`, which leaves nothing half done, with the memory it turns out to take."""
        while True:
            try:
                return work(connection)
            except duckdb.OutOfMemoryException:
                if self._memory >= self._most_memory:
                    raise
            self._memory = min(2 * self._memory, self._most_memory)
            connection.execute(f"SET memory_limit = '{self._memory}MB'")

    def _open(self) -> duckdb.DuckDBPyConnection:
        config = self._config | {"memory_limit": f"{self._memory}MB"}
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_new = not self._path.exists()
            self._connection = duckdb.connect(str(self._path), config=config)
            if is_new:
                # Numbers and transcripts lie there: for its owner only.
                self._path.chmod(0o600)
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
        for table in TABLES:
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
            for table, rows in zip(TABLES, (calls, attempts, activity), strict=True):
                for texts in portions(table.texts(rows)):
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
            for table in ("freshness", *(table.name for table in TABLES)):
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

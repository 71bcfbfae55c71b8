"""`ports.warehouse.Warehouse` on Snowflake.

A load writes its rows to Parquet files, puts these on a stage of the session, copies each into a
temporary table, and merges all of them in one transaction: ten to fifteen statements however many
rows there are. It may be repeated at any point, since `MERGE` goes by id and version.
"""

import asyncio
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from snowflake.connector import SnowflakeConnection

from outdial.adapters.snowflake import schema, staging
from outdial.adapters.snowflake.address import Address
from outdial.adapters.snowflake.dialect import snowflake_sql
from outdial.adapters.snowflake.examination import Finding, checks
from outdial.adapters.snowflake.schema import MIGRATIONS, Migration
from outdial.adapters.snowflake.sessions import Sessions, SingleSession, Work
from outdial.adapters.snowflake.tables import STAGE, TABLES, set_freshness
from outdial.errors import ConfigurationError, Unavailable
from outdial.ports.warehouse import Row

T = TypeVar("T")

#: Questions at once; more wait.
_QUESTIONS = 4
#: Seconds that a freshness read from Snowflake is good for.
_FRESHNESS_KEPT = 5.0
#: While nothing changes, freshness is told Snowflake this often, in ms.
_FRESHNESS_EVERY = 60_000
#: Seconds beyond a statement's own limit: signing in, and several statements in a row.
_PATIENCE = 60
_EXPORTED_AT_ONCE = 10_000


class Use(Protocol):
    """Where sessions come from: `Sessions`, or `SingleSession`."""

    def use(self, work: Work, run: Callable[[SnowflakeConnection], T]) -> T:
        """Run in a session of this kind."""
        ...

    def close(self) -> None:
        """End what is idle."""
        ...


class SnowflakeWarehouse:
    """Any number of processes may use one; one of them loads."""

    def __init__(
        self,
        address: Address,
        *,
        sessions: Use | None = None,
        migrations: tuple[Migration, ...] = MIGRATIONS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is opened before the first use. `monotonic`: seconds."""
        self.address = address
        self._sessions = sessions or Sessions(address)
        self._migrations = migrations
        self._monotonic = monotonic
        self._threads = {
            Work.LOAD: ThreadPoolExecutor(1, thread_name_prefix="outdial-warehouse-load"),
            Work.QUERY: ThreadPoolExecutor(_QUESTIONS, thread_name_prefix="outdial-warehouse"),
        }
        # What this process loaded, what of it Snowflake was told, and what Snowflake said when.
        self._as_of: int | None = None
        self._as_of_told: int | None = None
        self._as_of_read: tuple[float, int | None] | None = None

    async def upgrade(self) -> None:
        """Run pending migrations."""
        await self._do(
            Work.LOAD, lambda session: schema.upgrade(partial(_run, session), self._migrations)
        )

    async def pending_migrations(self) -> list[str]:
        """Names of the migrations that the schema lacks."""
        waiting = await self._do(
            Work.QUERY, lambda session: schema.pending(partial(_run, session), self._migrations)
        )
        return [f"{each.number:04d} {each.name}" for each in waiting]

    async def examine(self) -> AsyncIterator[Finding]:
        """For the doctor: what there is to find out about the account, one by one."""
        parameters = Work.QUERY.parameters
        for name, check in checks(self.address, parameters, self._migrations).items():
            try:
                yield await self._do(Work.QUERY, partial(_examined, check))
            except ConfigurationError as error:
                refused, _, mend = str(error).partition(" → ")
                yield Finding(name, "fault", refused, mend or None)
            except Unavailable as error:
                yield Finding(name, "fault", error.detail)

    async def load(
        self,
        calls: Sequence[Row],
        attempts: Sequence[Row],
        activity: Sequence[Row],
        as_of: int | None,
    ) -> None:
        """Merge in one transaction; `as_of` alone reaches Snowflake once a minute."""
        if not (calls or attempts or activity):
            if as_of is not None:
                self._as_of = as_of
                if as_of - (self._as_of_told or 0) >= _FRESHNESS_EVERY:
                    await self._tell_freshness(as_of)
            return
        await self._asked(Work.LOAD, partial(self._load, (calls, attempts, activity)))
        if as_of is not None:
            self._as_of = as_of
            await self._tell_freshness(as_of)

    async def query(
        self, sql: str, parameters: Sequence[Any] = ()
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run one SELECT."""
        text = snowflake_sql(sql)

        def run(session: SnowflakeConnection) -> tuple[list[str], list[tuple[Any, ...]]]:
            with session.cursor() as cursor:
                cursor.execute(text, tuple(parameters))
                return [each.name.lower() for each in cursor.description or ()], cursor.fetchall()

        return await self._asked(Work.QUERY, run)

    async def export_parquet(self, sql: str, parameters: Sequence[Any], path: Path) -> None:
        """Write a SELECT to a Parquet file, some thousand rows at a time."""
        text = snowflake_sql(sql)

        def run(session: SnowflakeConnection) -> None:
            with session.cursor() as cursor:
                cursor.execute(text, tuple(parameters))
                with staging.Export(path, cursor.description or ()) as export:
                    while rows := cursor.fetchmany(_EXPORTED_AT_ONCE):
                        export.write(rows)

        await self._asked(Work.QUERY, run)

    async def as_of(self) -> int | None:
        """Freshness, as the last load said; where another process loads, some seconds old."""
        if self._as_of is not None:
            return self._as_of
        now = self._monotonic()
        if self._as_of_read is None or now - self._as_of_read[0] >= _FRESHNESS_KEPT:
            rows = await self._asked(
                Work.QUERY, lambda session: _run(session, "SELECT as_of FROM freshness")
            )
            self._as_of_read = (now, rows[0][0])
        return self._as_of_read[1]

    async def clear(self) -> None:
        """Drop all rows and the freshness."""
        self._as_of = self._as_of_told = self._as_of_read = None
        await self._asked(Work.LOAD, _clear)

    async def close(self) -> None:
        """Tell the freshness that is in memory only, and end the sessions."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads[Work.LOAD], self._close)
        for threads in self._threads.values():
            threads.shutdown(wait=False)

    @asynccontextmanager
    async def rehearsal(self) -> AsyncIterator["SnowflakeWarehouse"]:
        """A warehouse of one session, whose tables are temporary ones of the same names.

        They hide the real ones from that session alone and end with it: what is loaded and asked
        there goes the real way and touches nothing. Raises `ConfigurationError`, `Unavailable`.
        """
        single = await self._do(Work.QUERY, lambda _: SingleSession.of(self.address))
        rehearsed = SnowflakeWarehouse(self.address, sessions=single)
        try:
            await rehearsed._do(Work.LOAD, _create_temporary)
            yield rehearsed
        finally:
            rehearsed._as_of = None  # nothing is to be told in the end
            await rehearsed.close()

    async def _tell_freshness(self, as_of: int) -> None:
        await self._asked(Work.LOAD, lambda session: _run(session, set_freshness(as_of)))
        self._as_of_told = as_of

    async def _asked(self, work: Work, run: Callable[[SnowflakeConnection], T]) -> T:
        """As `_do`; what was right at the start and is no more is an outage."""
        try:
            return await self._do(work, run)
        except ConfigurationError as error:
            raise Unavailable("warehouse", str(error)) from None

    async def _do(self, work: Work, run: Callable[[SnowflakeConnection], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(work.seconds + _PATIENCE):
                return await loop.run_in_executor(
                    self._threads[work], partial(self._sessions.use, work, run)
                )
        except TimeoutError:
            raise Unavailable("warehouse", "no answer in time") from None

    def _load(
        self, rows: tuple[Sequence[Row], Sequence[Row], Sequence[Row]], session: SnowflakeConnection
    ) -> None:
        run = partial(_run, session)
        load = uuid.uuid4().hex
        merges = []
        with tempfile.TemporaryDirectory(prefix="outdial-load-") as folder:
            run(f"CREATE TEMPORARY STAGE IF NOT EXISTS {STAGE}")
            for table, given in zip(TABLES, rows, strict=True):
                if not given:
                    continue
                newest = table.newest(given)
                path = Path(folder) / f"{table.name}.parquet"
                staging.write(path, table.columns, newest)
                run(table.create_staged())
                run(_put(path, f"{load}/{table.name}"))
                _check_copied(run(table.copy(f"{load}/{table.name}")), len(newest))
                merges.append(table.merge(newest))
        run("BEGIN")
        for merge in merges:
            run(merge)
        run("COMMIT")

    def _close(self) -> None:
        if self._as_of is not None and self._as_of != self._as_of_told:
            # Where this fails, freshness is told older than it is, which the port allows.
            told = set_freshness(self._as_of)
            with suppress(ConfigurationError, Unavailable):
                self._sessions.use(Work.LOAD, lambda session: _run(session, told))
        self._sessions.close()


def _run(
    session: SnowflakeConnection, sql: str, parameters: tuple[object, ...] = ()
) -> list[tuple[Any, ...]]:
    with session.cursor() as cursor:
        cursor.execute(sql, parameters or None)
        return cursor.fetchall()


def _examined(check: Callable[[schema.Run], Finding], session: SnowflakeConnection) -> Finding:
    return check(partial(_run, session))


def _put(path: Path, folder: str) -> str:
    local = path.as_posix().replace("'", "\\'")
    return f"PUT 'file://{local}' @{STAGE}/{folder} AUTO_COMPRESS = FALSE OVERWRITE = TRUE"


def _check_copied(report: list[tuple[Any, ...]], staged: int) -> None:
    """A file that was not found is no error to `COPY`: rows would be missing without a word."""
    copied = sum(row[3] for row in report if len(row) > 3)
    if copied != staged:
        raise Unavailable("warehouse", f"{copied} of {staged} staged rows were copied")


def _clear(session: SnowflakeConnection) -> None:
    # Freshness first: it must never speak of rows that are not there.
    _run(session, set_freshness(None))
    _run(session, "BEGIN")
    for table in TABLES:
        _run(session, f"DELETE FROM {table.name}")  # noqa: S608 - own names
    _run(session, "COMMIT")


def _create_temporary(session: SnowflakeConnection) -> None:
    for table in TABLES:
        _run(session, f"CREATE OR REPLACE TEMPORARY TABLE {table.name} ({table.definition()})")

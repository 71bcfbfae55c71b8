"""PostgreSQL through asyncpg; the units of work run on SQLAlchemy's greenlets, without threads.

What a statement may take is limited on both ends: by the server, so that a session that nobody
waits for any more holds no lock, and by the client, so that a silent network holds up nobody.
"""

import asyncio
from functools import cached_property
from typing import TypeVar

import orjson
from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from outdial.adapters.database.engine import Work
from outdial.adapters.database.faults import certainly_undone, demoted, locked_out, translated
from outdial.adapters.database.postgresql_url import connection_of

T = TypeVar("T")
#: Deadlocks can't last: rows are locked in one order. A handful of tries is plenty.
_TRIES = 5
_CONNECT_SECONDS = 10
_STATEMENT_SECONDS = 60
#: Rows are held for milliseconds; whoever waits longer had better try again later.
_LOCK_SECONDS = 10
#: While a migration waits for a table, everybody else waits behind it: it lets them pass, and
#: tries again after as long.
_MIGRATION_LOCK_SECONDS = 3
_MIGRATION_TRIES = 20


class PostgresDatabase:
    """A PostgreSQL server; see `engine.Database`. `pool_size` connections, and one for bulk."""

    def __init__(self, url: URL, pool_size: int) -> None:
        """Connects at the first use."""
        self._url = url
        self._engine = _engine(url, pool_size, seconds=_STATEMENT_SECONDS)

    @cached_property
    def _bulk(self) -> AsyncEngine:
        """For what may take hours: one connection, made when there is such work."""
        return _engine(self._url, 1, seconds=None)

    @property
    def url(self) -> str:
        """With its password hidden."""
        return self._url.render_as_string(hide_password=True)

    async def transact(self, work: Work[T], *, bulk: bool = False) -> T:
        """See `engine.Database.transact`."""

        def run(connection: Connection) -> T:
            with connection.begin():
                return work(connection)

        return await self._run(run, self._bulk if bulk else self._engine)

    async def read(self, work: Work[T]) -> T:
        """See `engine.Database.read`."""

        def run(connection: Connection) -> T:
            return work(connection.execution_options(isolation_level="REPEATABLE READ"))

        return await self._run(run, self._engine)

    async def migrate(self, work: Work[T]) -> T:
        """See `engine.Database.migrate`."""

        def run(connection: Connection) -> T:
            connection.exec_driver_sql(f"SET lock_timeout = {int(_MIGRATION_LOCK_SECONDS * 1000)}")
            connection.commit()
            return work(connection)

        with translated():
            for tried in range(1, _MIGRATION_TRIES + 1):
                try:
                    async with self._bulk.connect() as connection:
                        return await connection.run_sync(run)
                except DBAPIError as error:
                    if tried == _MIGRATION_TRIES or not locked_out(error):
                        raise
                finally:
                    # The session's locks and settings end with it.
                    await self._bulk.dispose()
                await asyncio.sleep(_MIGRATION_LOCK_SECONDS)
        raise AssertionError  # pragma: no cover - the loop returns or raises

    async def close(self) -> None:
        """Close the pools."""
        await self._engine.dispose()
        if "_bulk" in self.__dict__:
            await self._bulk.dispose()

    async def _run(self, run: Work[T], engine: AsyncEngine) -> T:
        with translated():
            for tried in range(1, _TRIES + 1):
                try:
                    async with engine.connect() as connection:
                        return await connection.run_sync(run)
                except DBAPIError as error:
                    if demoted(error):
                        # The server is a standby now: the pool's other connections lead there too.
                        await engine.dispose()
                    if tried == _TRIES or not certainly_undone(error):
                        raise
                    await asyncio.sleep(0.01 * tried)
        raise AssertionError  # pragma: no cover - the loop returns or raises


def _engine(url: URL, pool_size: int, *, seconds: float | None) -> AsyncEngine:
    """`seconds`: what a statement may take; None: for ever."""
    url, arguments, server_settings = connection_of(url)
    return create_async_engine(
        url.set(drivername="postgresql+asyncpg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=_CONNECT_SECONDS,
        # Each statement after a lock sees what its holder before us did; not up to the server.
        isolation_level="READ COMMITTED",
        connect_args={
            "timeout": _CONNECT_SECONDS,
            # A little later than the server, whose own word is the better one.
            "command_timeout": None if seconds is None else seconds + 5,
            "server_settings": {
                "application_name": "outdial",
                "jit": "off",
                "statement_timeout": str(int((seconds or 0) * 1000)),
                "lock_timeout": str(int(_LOCK_SECONDS * 1000)),
                # No transaction waits for anything but the server, so one that idles is a leftover.
                "idle_in_transaction_session_timeout": str(_STATEMENT_SECONDS * 1000),
                **server_settings,
            },
            **arguments,
        },
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
    )

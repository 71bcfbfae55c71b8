"""PostgreSQL through asyncpg; the units of work run on SQLAlchemy's greenlets, without threads."""

import asyncio
from typing import TypeVar

import orjson
from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from outdial.adapters.database.engine import Work
from outdial.adapters.database.faults import certainly_undone, translated

T = TypeVar("T")
#: Deadlocks can't last: rows are locked in one order. A handful of tries is plenty.
_TRIES = 5
_CONNECT_SECONDS = 10
_STATEMENT_SECONDS = 60


class PostgresDatabase:
    """A PostgreSQL server; see `engine.Database`. `pool_size` connections at most."""

    def __init__(self, url: URL, pool_size: int) -> None:
        """Connects at the first use."""
        self._url = url
        self._engine: AsyncEngine = create_async_engine(
            url.set(drivername="postgresql+asyncpg"),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_CONNECT_SECONDS,
            # Each statement after a lock sees what its holder before us did; not up to the server.
            isolation_level="READ COMMITTED",
            connect_args={
                "timeout": _CONNECT_SECONDS,
                "command_timeout": _STATEMENT_SECONDS,
                "server_settings": {"application_name": "outdial", "jit": "off"},
            },
            json_serializer=lambda value: orjson.dumps(value).decode(),
            json_deserializer=orjson.loads,
        )

    @property
    def url(self) -> str:
        """With its password hidden."""
        return self._url.render_as_string(hide_password=True)

    async def transact(self, work: Work[T], *, bulk: bool = False) -> T:  # noqa: ARG002 - the server works
        """See `engine.Database.transact`."""

        def run(connection: Connection) -> T:
            with connection.begin():
                return work(connection)

        return await self._run(run)

    async def read(self, work: Work[T]) -> T:
        """See `engine.Database.read`."""

        def run(connection: Connection) -> T:
            return work(connection.execution_options(isolation_level="REPEATABLE READ"))

        return await self._run(run)

    async def close(self) -> None:
        """Close the pool."""
        await self._engine.dispose()

    async def _run(self, run: Work[T]) -> T:
        with translated():
            for tried in range(1, _TRIES + 1):
                try:
                    async with self._engine.connect() as connection:
                        return await connection.run_sync(run)
                except DBAPIError as error:
                    if tried == _TRIES or not certainly_undone(error):
                        raise
                    await asyncio.sleep(0.01 * tried)
        raise AssertionError  # pragma: no cover - the loop returns or raises

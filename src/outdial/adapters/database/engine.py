"""Transactions: a unit of work is a plain synchronous function of a connection.

No `await` fits into such a function, so no transaction can be open while the network is asked.
It may be run more than once (a lost race, a group that failed), so it changes nothing but the
database.
"""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from outdial.errors import ConfigurationError

T = TypeVar("T")
Work = Callable[[Connection], T]


class Database(Protocol):
    """SQLite or PostgreSQL. Both raise `Unavailable` when the database does not answer."""

    @property
    def url(self) -> str:
        """Without its password."""
        ...

    async def transact(self, work: Work[T], *, bulk: bool = False) -> T:
        """Run `work` in one transaction; its result is given after the commit.

        `bulk`: it touches more rows than a batch has, so it must not hold up the event loop.
        """
        ...

    async def read(self, work: Work[T]) -> T:
        """Run `work` on a snapshot, without hindering writers."""
        ...

    async def migrate(self, work: Work[T]) -> T:
        """Run `work`, a change of the schema, alone and for as long as it takes.

        On PostgreSQL it begins and ends its transactions itself, for some changes must be outside
        of any; where the lock it needs is held for long, it is run again from its beginning.
        """
        ...

    async def close(self) -> None:
        """Release connections and threads."""
        ...


def open_database(url: str, *, pool_size: int = 10) -> Database:
    """Open by URL. Connects at the first use. `ConfigurationError` for a URL that is no such."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(f"OUTDIAL_DATABASE_URL is no database URL: {error}") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        from outdial.adapters.database.sqlite import SqliteDatabase  # noqa: PLC0415

        if not parsed.database or parsed.database == ":memory:":
            raise ConfigurationError(
                "OUTDIAL_DATABASE_URL names no file; write sqlite:///PATH/outdial.db"
            )
        return SqliteDatabase(Path(parsed.database))
    if backend in {"postgresql", "postgres"}:
        from outdial.adapters.database.postgresql import PostgresDatabase  # noqa: PLC0415

        try:
            return PostgresDatabase(parsed, pool_size)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"OUTDIAL_DATABASE_URL: PostgreSQL needs {error.name}, which is not installed: "
                "pip install 'outdial[postgres]'"
            ) from None
    raise ConfigurationError(
        f"OUTDIAL_DATABASE_URL starts with {parsed.drivername}://; "
        "use sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DB"
    )


def insert_or_ignore(connection: Connection, table: Table) -> "postgresql.Insert | sqlite.Insert":
    """An INSERT that passes over rows whose key is there already."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()


class Clock:
    """The database's clock, in ms. `ahead` moves it, so that a test can let an hour pass."""

    def __init__(self) -> None:
        """In step with the database."""
        self.ahead = 0

    def now(self, connection: Connection) -> int:
        """PostgreSQL's own clock; SQLite has none but the machine's."""
        if connection.dialect.name == "postgresql":
            return int(connection.execute(select(_POSTGRESQL_NOW)).scalar_one()) + self.ahead
        return _machine_now() + self.ahead

    def beside(self, connection: Connection, query: Select[Any]) -> tuple[Sequence[Row[Any]], int]:
        """The rows of `query`, one at least, and the time, in one round trip.

        The query is a constant: nothing is built anew each time.
        """
        if connection.dialect.name == "postgresql":
            rows = connection.execute(_with_now(query)).all()
            return rows, rows[0].now + self.ahead
        return connection.execute(query).all(), _machine_now() + self.ahead


_POSTGRESQL_NOW: ColumnElement[int] = literal_column(
    "(extract(epoch FROM clock_timestamp()) * 1000)::bigint", BigInteger
)


@lru_cache(16)
def _with_now(query: Select[Any]) -> Select[Any]:
    return query.add_columns(_POSTGRESQL_NOW.label("now"))


def _machine_now() -> int:
    return time.time_ns() // 1_000_000

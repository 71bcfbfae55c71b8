"""Many rows in one statement: what a transaction has decided, written in one go.

PostgreSQL gets all of it in a single statement, one CTE a kind of row, its rows as one JSON
parameter: the text stays the same however many rows there are, so it is planned once, and a batch
costs one round trip. In SQLite there are no round trips, and no changes in CTEs: a statement a
kind of row runs once for each, past SQLAlchemy, which looks at every value of every row by itself
(measured: a tenth of what a call costs).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import JSON, Connection, Executable, Table, text
from sqlalchemy.dialects import postgresql

from outdial.adapters.database.engine import insert_or_ignore

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Insert:
    """Rows to add; those whose key is there already are passed over where `ignore` is set."""

    name: str
    table: Table
    ignore: bool = False

    def sql(self, names: tuple[str, ...]) -> str:
        """PostgreSQL's statement, its rows in `:{name}`."""
        listed = ", ".join(names)
        conflict = " ON CONFLICT DO NOTHING" if self.ignore else ""
        return (
            f"INSERT INTO {self.table.name} ({listed}) "  # noqa: S608 - constants of this package
            f"SELECT {listed} FROM {_rows(self, names)}{conflict}"
        )

    def each(self, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """SQLite's statement for a row, and whose values it takes, in their order."""
        listed = ", ".join(f'"{name}"' for name in names)
        marks = ", ".join("?" * len(names))
        conflict = " ON CONFLICT DO NOTHING" if self.ignore else ""
        # Constants of this package.
        return f"INSERT INTO {self.table.name} ({listed}) VALUES ({marks}){conflict}", names  # noqa: S608


@dataclass(frozen=True, slots=True)
class Update:
    """Rows to change, found by their `id` and whatever `match` names besides.

    `versioned`: a change that the warehouse has to hear of.
    """

    name: str
    table: Table
    match: tuple[str, ...] = ("id",)
    versioned: bool = False

    def sql(self, names: tuple[str, ...]) -> str:
        """PostgreSQL's statement, its rows in `:{name}`."""
        table = self.table.name
        changes = [f"{name} = r.{name}" for name in names if name not in self.match]
        if self.versioned:
            changes.append(f"version = {table}.version + 1")
        found = " AND ".join(f"{table}.{name} = r.{name}" for name in self.match)
        return (
            f"UPDATE {table} SET {', '.join(changes)} "  # noqa: S608 - constants of this package
            f"FROM {_rows(self, names)} WHERE {found}"
        )

    def each(self, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """SQLite's statement for a row, and whose values it takes, in their order."""
        changed = tuple(name for name in names if name not in self.match)
        changes = [f'"{name}" = ?' for name in changed]
        if self.versioned:
            changes.append("version = version + 1")
        found = " AND ".join(f'"{name}" = ?' for name in self.match)
        # Constants of this package.
        sql = f"UPDATE {self.table.name} SET {', '.join(changes)} WHERE {found}"  # noqa: S608
        return sql, changed + self.match


Kind = Insert | Update


def write(connection: Connection, parts: Sequence[tuple[Kind, Sequence[Row]]]) -> None:
    """Write all parts; rows of a part name the same columns. No row may be in two of them."""
    parts = [(kind, rows) for kind, rows in parts if rows]
    if not parts:
        return
    if connection.dialect.name == "postgresql":
        shape = tuple((kind, tuple(rows[0])) for kind, rows in parts)
        values = {kind.name: orjson.dumps(rows).decode() for kind, rows in parts}
        connection.execute(_together(shape), values)
        return
    for kind, rows in parts:
        sql, values_of = _each(kind, tuple(rows[0]))
        connection.exec_driver_sql(sql, [values_of(row) for row in rows])


def write_new(connection: Connection, table: Table, rows: Sequence[Row]) -> set[Any]:
    """Add those of the rows, each with another `id`, that are not there yet; the ids of these."""
    if not rows:
        return set()
    if connection.dialect.name == "postgresql":
        # Another transaction may be adding the same: the statement alone knows which are new.
        adding = insert_or_ignore(connection, table).returning(table.c.id)
        return set(connection.execute(adding, rows).scalars())
    # The one that writes is the only one: what is not there now is not there a statement later.
    asked = orjson.dumps([row["id"] for row in rows]).decode()
    there = f"SELECT id FROM {table.name} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 - a constant of this package
    known = {row[0] for row in connection.exec_driver_sql(there, (asked,))}
    new = [row for row in rows if row["id"] not in known]
    write(connection, [(Insert("new", table), new)])
    return {row["id"] for row in new}


@lru_cache(256)
def _together(shape: tuple[tuple[Kind, tuple[str, ...]], ...]) -> Executable:
    *before, (last, names) = shape
    ctes = [f"{kind.name} AS ({kind.sql(columns)})" for kind, columns in before]
    return text((f"WITH {', '.join(ctes)} " if ctes else "") + last.sql(names))


@lru_cache(256)
def _each(kind: Kind, names: tuple[str, ...]) -> tuple[str, Callable[[Row], tuple[Any, ...]]]:
    sql, order = kind.each(names)
    structured = {name for name in order if isinstance(kind.table.c[name].type, JSON)}
    if not structured:
        # Of one name it would give the value alone; `id` is among them, and never alone.
        return sql, itemgetter(*order)
    return sql, lambda row: tuple(
        _json(row[name]) if name in structured else row[name] for name in order
    )


def _json(value: object) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _rows(kind: Kind, names: tuple[str, ...]) -> str:
    types = (f"{name} {kind.table.c[name].type.compile(_DIALECT)}" for name in names)
    return f"json_to_recordset(CAST(:{kind.name} AS json)) AS r({', '.join(types)})"

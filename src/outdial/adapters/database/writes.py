"""Many rows in one statement: what a transaction has decided, written in one go.

PostgreSQL gets all of it in a single statement, one CTE a kind of row, its rows as one JSON
parameter: the text stays the same however many rows there are, so it is planned once, and a batch
costs one round trip. In SQLite there are no round trips, and no changes in CTEs: a statement a
kind of row runs once for each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Column, Connection, Executable, Table, bindparam, insert, text, update
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

    def each(self, connection: Connection, _names: tuple[str, ...]) -> Executable:
        """SQLite's statement for a row."""
        if self.ignore:
            return insert_or_ignore(connection, self.table)
        return insert(self.table)


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

    def each(self, _connection: Connection, names: tuple[str, ...]) -> Executable:
        """SQLite's statement for a row."""
        return _update_one(self, names)


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
        names = tuple(rows[0])
        connection.execute(
            kind.each(connection, names),
            [{f"new_{name}": value for name, value in row.items()} for row in rows]
            if isinstance(kind, Update)
            else list(rows),
        )


@lru_cache(256)
def _together(shape: tuple[tuple[Kind, tuple[str, ...]], ...]) -> Executable:
    *before, (last, names) = shape
    ctes = [f"{kind.name} AS ({kind.sql(columns)})" for kind, columns in before]
    return text((f"WITH {', '.join(ctes)} " if ctes else "") + last.sql(names))


@lru_cache(64)
def _update_one(kind: Update, names: tuple[str, ...]) -> Executable:
    values: dict[Column[Any], Any] = {
        kind.table.c[name]: bindparam(f"new_{name}") for name in names if name not in kind.match
    }
    if kind.versioned:
        values[kind.table.c.version] = kind.table.c.version + 1
    found = [kind.table.c[name] == bindparam(f"new_{name}") for name in kind.match]
    return update(kind.table).where(*found).values(values)


def _rows(kind: Kind, names: tuple[str, ...]) -> str:
    types = (f"{name} {kind.table.c[name].type.compile(_DIALECT)}" for name in names)
    return f"json_to_recordset(CAST(:{kind.name} AS json)) AS r({', '.join(types)})"

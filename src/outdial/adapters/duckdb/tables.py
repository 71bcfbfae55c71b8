"""The warehouse's tables in DuckDB, and the statement that merges rows into one."""

from collections.abc import Sequence
from typing import Any

import orjson

from outdial.ports.warehouse import ACTIVITY_COLUMNS, ATTEMPT_COLUMNS, CALL_COLUMNS, Row

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


class Table:
    """One warehouse table: its columns, its identity, and the statement that merges rows."""

    def __init__(self, name: str, columns: dict[str, str], key: str) -> None:
        """`columns` by name, of the kinds that the port names; `key` is unique in the table."""
        self.name = name
        self.columns = columns
        self.key = key
        self.versioned = "version" in columns
        self._json = [name for name, kind in columns.items() if kind == "json"]
        self.merge = self._merge()

    def create(self) -> str:
        """The statement that creates it where it is missing."""
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
        return [self._text(row) for row in newest.values()]

    def _text(self, row: Row) -> str:
        told = {name: row.get(name) for name in self.columns}
        for name in self._json:
            told[name] = _json_text(told[name])
        return orjson.dumps(told).decode()

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


_CALLS = Table("calls", CALL_COLUMNS, "call_id")
_ATTEMPTS = Table("call_attempts", ATTEMPT_COLUMNS, "attempt_id")
_ACTIVITY = Table("activity_events", ACTIVITY_COLUMNS, "event_id")
TABLES = (_CALLS, _ATTEMPTS, _ACTIVITY)


def _json_text(value: Any) -> str | None:  # noqa: ANN401 - whatever JSON holds
    """JSON is stored as its text, whether it comes as text or decoded."""
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def portions(texts: list[str]) -> list[list[str]]:
    """The texts of one statement each."""
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

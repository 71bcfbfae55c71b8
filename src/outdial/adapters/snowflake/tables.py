"""The warehouse's tables in Snowflake's SQL: how rows are staged, copied and merged.

No clustering key: rows come in the order of their calls' ids, which is that of time, and are
sorted by tenant within a load, so the parts of a table are narrow by themselves; and a `MERGE`
names the range of call ids it is about, so that the other parts are not read. docs/snowflake.md
says from what size on a key pays.
"""

from collections.abc import Mapping, Sequence

from outdial.ports.warehouse import ACTIVITY_COLUMNS, ATTEMPT_COLUMNS, CALL_COLUMNS, Row

#: JSON stays text, as the port says: `PARSE_JSON(metadata):job` opens it.
TYPES = {
    "text": "VARCHAR",
    "int": "BIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "json": "VARCHAR",
}
#: A stage of the session's own: its files go with it, whatever happens.
STAGE = "outdial_staged"


class Table:
    """One warehouse table: its columns and its identity."""

    def __init__(self, name: str, columns: Mapping[str, str], key: str) -> None:
        """`columns`: kinds by name. `key`: the column that tells rows apart."""
        self.name = name
        self.columns = columns
        self.key = key
        self.staged = f"outdial_staged_{name}"
        self._versioned = "version" in columns

    def create_staged(self) -> str:
        """An empty table, of this session only, for the rows of one load."""
        return f"CREATE OR REPLACE TEMPORARY TABLE {self.staged} ({self.definition()})"

    def definition(self) -> str:
        """Names and types."""
        return ", ".join(f"{name} {TYPES[kind]}" for name, kind in self.columns.items())

    def copy(self, folder: str) -> str:
        """From the Parquet files in a folder of the stage into the staged table."""
        values = ", ".join(f"$1:{name}::{TYPES[kind]}" for name, kind in self.columns.items())
        return (
            f"COPY INTO {self.staged} ({', '.join(self.columns)}) "  # noqa: S608 - own names
            f"FROM (SELECT {values} FROM @{STAGE}/{folder}) "
            # By default the text \N would become null.
            "FILE_FORMAT = (TYPE = PARQUET NULL_IF = ()) PURGE = TRUE"
        )

    def newest(self, rows: Sequence[Row]) -> list[Row]:
        """Each row once, in its newest version, in the order the table is to have."""
        found: dict[str, Row] = {}
        for row in rows:
            known = found.get(row[self.key])
            if known is None or (self._versioned and row["version"] > known["version"]):
                found[row[self.key]] = row
        return sorted(found.values(), key=lambda row: (row["tenant"] or "", row["call_id"] or ""))

    def merge(self, rows: Sequence[Row]) -> str:
        """One statement for all the staged rows, which are these."""
        joined = sorted({"call_id", self.key})
        on = [f"t.{name} = s.{name}" for name in joined]
        ids = [row["call_id"] for row in rows if row["call_id"] is not None]
        if ids:
            on.append(f"t.call_id BETWEEN {_literal(min(ids))} AND {_literal(max(ids))}")
        sets = ", ".join(f"{name} = s.{name}" for name in self.columns if name not in joined)
        update = (
            f"WHEN MATCHED AND s.version > t.version THEN UPDATE SET {sets} "
            if self._versioned
            else ""
        )
        return (
            f"MERGE INTO {self.name} t USING {self.staged} s ON {' AND '.join(on)} {update}"  # noqa: S608 - own names, ids as literals
            f"WHEN NOT MATCHED THEN INSERT ({', '.join(self.columns)}) "
            f"VALUES ({', '.join(f's.{name}' for name in self.columns)})"
        )


TABLES = (
    Table("calls", CALL_COLUMNS, "call_id"),
    Table("call_attempts", ATTEMPT_COLUMNS, "attempt_id"),
    Table("activity_events", ACTIVITY_COLUMNS, "event_id"),
)


def set_freshness(as_of: int | None, kind: str = "") -> str:
    """The view that holds it: making one needs no running warehouse, as changing a row would."""
    value = "NULL" if as_of is None else str(int(as_of))
    return f"CREATE OR REPLACE {kind} VIEW freshness COPY GRANTS AS SELECT {value}::BIGINT AS as_of"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"

"""The warehouse's rows as digests, for the audit: `ports.audit.WarehouseAudit`.

Hashed where they lie, so that neither transcripts nor numbers leave the warehouse.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from outdial.core.digest import LARGE, MILLION, NULL, SEPARATOR
from outdial.ports.audit import WarehouseRow
from outdial.ports.warehouse import ACTIVITY_COLUMNS, ATTEMPT_COLUMNS, CALL_COLUMNS, Warehouse

#: Each table's identity and columns.
TABLES: dict[str, tuple[str, Mapping[str, str]]] = {
    "calls": ("call_id", CALL_COLUMNS),
    "call_attempts": ("attempt_id", ATTEMPT_COLUMNS),
    "activity_events": ("event_id", ACTIVITY_COLUMNS),
}


class WarehouseDigests:
    """See the port; every table is one query."""

    def __init__(self, warehouse: Warehouse) -> None:
        """`warehouse` has its tables."""
        self._warehouse = warehouse

    async def between(self, after: str, last: str | None) -> Sequence[WarehouseRow]:
        """See the port."""
        if last is None:
            return await self._rows("call_id > ?", [after])
        return await self._rows("call_id > ? AND call_id <= ?", [after, last])

    async def of_calls(self, call_ids: Collection[str]) -> Sequence[WarehouseRow]:
        """See the port."""
        if not call_ids:
            return []
        marks = ", ".join("?" * len(call_ids))
        return await self._rows(f"call_id IN ({marks})", list(call_ids))

    async def _rows(self, where: str, parameters: Sequence[Any]) -> list[WarehouseRow]:
        found = []
        for kind, query in _QUERIES.items():
            _, rows = await self._warehouse.query(f"{query} WHERE {where}", parameters)
            found += [WarehouseRow(kind, *row) for row in rows]
        return found


def _query(table: str) -> str:
    key, columns = TABLES[table]
    version = "version" if "version" in columns else "1"
    cells = f" || chr({ord(SEPARATOR)}) || ".join(
        f"coalesce({_cell(name, kind)}, chr({ord(NULL)}))" for name, kind in columns.items()
    )
    return f"SELECT call_id, {key} AS id, {version}, md5({cells}) FROM {table}"  # noqa: S608 - own names


def _cell(name: str, kind: str) -> str:
    if kind == "float":
        whole = f"CAST(CAST(floor({name} * {MILLION} + 0.5) AS BIGINT) AS VARCHAR)"
        small = f"CASE WHEN abs({name}) < {LARGE:.0f} THEN {whole} ELSE 'large' END"
        return f"CASE WHEN {name} IS NULL THEN NULL ELSE {small} END"
    return f"CAST({name} AS VARCHAR)" if kind in {"int", "bool"} else name


_QUERIES = {table: _query(table) for table in TABLES}

"""The warehouse: three tables, loaded by upsert, asked by SQL.

`calls` is there beside the attempts so that accepted calls that still wait, or never came to an
attempt, are accounted for.

The columns are here because the ledger's outbox, the loaders and the metrics all mean the same
ones. Kinds: text, int (also times in ms: `…_at`), float, bool, json (text of JSON).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

#: One row a call, its current state. `version` grows with every change.
CALL_COLUMNS: dict[str, str] = {
    "call_id": "text",
    "version": "int",
    "tenant": "text",
    "status": "text",
    "reason": "text",
    "external_id": "text",
    "campaign": "text",
    "agent_id": "text",
    "agent_version": "text",
    "to_number": "text",
    "from_number": "text",
    "attempts": "int",
    "not_before": "int",
    "expires_at": "int",
    "created_at": "int",
    "updated_at": "int",
}

#: One row an attempt, its current state.
ATTEMPT_COLUMNS: dict[str, str] = {
    "attempt_id": "text",
    "version": "int",
    "call_id": "text",
    "number": "int",
    "tenant": "text",
    "status": "text",
    "call_status": "text",
    "retell_call_id": "text",
    "external_id": "text",
    "campaign": "text",
    "agent_id": "text",
    "agent_version": "text",
    "to_number": "text",
    "from_number": "text",
    "metadata": "json",
    "accepted_at": "int",
    "submitted_at": "int",
    "initiated_at": "int",
    "started_at": "int",
    "ended_at": "int",
    "analyzed_at": "int",
    "connected": "bool",
    "outcome": "text",
    "disconnection_reason": "text",
    "duration_ms": "int",
    "call_successful": "bool",
    "user_sentiment": "text",
    "in_voicemail": "bool",
    "call_summary": "text",
    "custom_analysis_data": "json",
    "cost_usd": "float",
    "recording_url": "text",
    "transcript": "text",
    "latency_p50_ms": "float",
    "provisional": "bool",
}

#: One row an activity event; append-only. `data`: the whole CloudEvent.
ACTIVITY_COLUMNS: dict[str, str] = {
    "event_id": "text",
    "call_id": "text",
    "attempt_id": "text",
    "attempt": "int",
    "tenant": "text",
    "type": "text",
    "sequence": "int",
    "occurred_at": "int",
    "recorded_at": "int",
    "data": "json",
}

Row = Mapping[str, Any]


class Warehouse(Protocol):
    """Loads are idempotent by id and version: an older version never replaces a newer one.

    Every method raises `Unavailable("warehouse", …)`.
    """

    async def upgrade(self) -> None:
        """Create or migrate the tables. Raises `ConfigurationError` where that cannot be."""
        ...

    async def load(
        self,
        calls: Sequence[Row],
        attempts: Sequence[Row],
        activity: Sequence[Row],
        as_of: int | None,
    ) -> None:
        """Upsert rows in one transaction.

        `as_of`: the ledger's clock up to which everything is loaded with these rows; None where
        more waits, which leaves it as it was. Without rows it may be kept in memory only: after
        a restart the answer is an older one, never a newer.
        """
        ...

    async def query(
        self, sql: str, parameters: Sequence[Any] = ()
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run one SELECT written in DuckDB's dialect: column names and rows."""
        ...

    async def export_parquet(self, sql: str, parameters: Sequence[Any], path: Path) -> None:
        """Write the rows of one SELECT to a Parquet file."""
        ...

    async def as_of(self) -> int | None:
        """The ledger's clock up to which everything committed is loaded; None when never."""
        ...

    async def clear(self) -> None:
        """Drop all rows, for a rebuild."""
        ...

    async def close(self) -> None:
        """Release the file or the session."""
        ...

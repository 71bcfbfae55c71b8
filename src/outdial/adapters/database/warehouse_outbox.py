"""Rows on their way to the warehouse: `ports.outbox.WarehouseOutbox` over the ledger's tables."""

from typing import Any

from sqlalchemy import Connection, func, select, update

from outdial.adapters.database.engine import Database
from outdial.adapters.database.tables import (
    UNLOADED,
    activity_events,
    attempts,
    calls,
    workspace,
)
from outdial.adapters.database.writes import Update, write
from outdial.errors import ConfigurationError
from outdial.ports.outbox import Changes
from outdial.ports.warehouse import ATTEMPT_COLUMNS, CALL_COLUMNS

#: The rows that the warehouse is to have, by its column names.
CALL_ROWS = select(
    calls.c.id.label("call_id"),
    *(calls.c[name] for name in CALL_COLUMNS if name != "call_id"),
)

_OF_CALL = {
    "tenant": calls.c.tenant,
    "external_id": calls.c.external_id,
    "campaign": calls.c.campaign,
    "to_number": calls.c.to_number,
    "metadata": calls.c.metadata,
    "accepted_at": calls.c.created_at,
    "from_number": calls.c.from_number,
    "submitted_at": attempts.c.first_submitted_at,
    "attempt_id": attempts.c.id,
    "agent_id": func.coalesce(attempts.c.agent_id, calls.c.agent_id),
    "agent_version": func.coalesce(attempts.c.agent_version, calls.c.agent_version),
    # Somebody or something answered: told as started, whether by call_started or the analysis.
    "connected": attempts.c.told_started,
}
ATTEMPT_ROWS = select(
    *(
        (_OF_CALL[name] if name in _OF_CALL else attempts.c[name]).label(name)
        for name in ATTEMPT_COLUMNS
    )
).select_from(attempts.join(calls, attempts.c.call_id == calls.c.id))
ACTIVITY_ROWS = select(
    activity_events.c.id.label("event_id"),
    activity_events.c.call_id,
    activity_events.c.attempt_id,
    activity_events.c.attempt,
    activity_events.c.tenant,
    activity_events.c.type,
    activity_events.c.sequence,
    activity_events.c.occurred_at,
    activity_events.c.recorded_at,
    activity_events.c.event.label("data"),
)

_CALLS = CALL_ROWS.where(calls.c.version > calls.c.loaded_version).order_by(calls.c.id)
_CHANGED = attempts.alias("changed")
_ACTIVITY = ACTIVITY_ROWS.where(UNLOADED).order_by(activity_events.c.id)

_CALLS_LOADED = Update("loaded_calls", calls)
_ATTEMPTS_LOADED = Update("loaded_attempts", attempts)
_ACTIVITY_LOADED = Update("loaded_activity", activity_events)


class LedgerWarehouseOutbox:
    """See `ports.outbox.WarehouseOutbox`."""

    def __init__(self, database: Database) -> None:
        """Each method is one transaction."""
        self._database = database

    async def changes(self, limit: int) -> Changes:
        """See the port."""

        def look(connection: Connection) -> Changes:
            def rows(query: Any) -> list[Any]:  # noqa: ANN401
                return list(connection.execute(query).mappings())

            # PostgreSQL takes a third of all attempts for changed and would join them all: which
            # they are is asked first. The order is that of the partial indexes.
            changed = (
                select(_CHANGED.c.id)
                .where(_CHANGED.c.version > _CHANGED.c.loaded_version)
                .order_by(_CHANGED.c.id)
                .limit(limit)
            )
            return Changes(
                rows(_CALLS.limit(limit)),
                rows(ATTEMPT_ROWS.where(attempts.c.id.in_(changed))),
                rows(_ACTIVITY.limit(limit)),
            )

        return await self._database.read(look)

    async def loaded(self, changes: Changes) -> None:
        """See the port."""

        def work(connection: Connection) -> None:
            # Locked in id order, like everybody does, so that nobody waits in a circle.
            ids = [row["call_id"] for row in changes.calls]
            connection.execute(
                select(calls.c.id).where(calls.c.id.in_(ids)).order_by(calls.c.id).with_for_update()
            )
            write(
                connection,
                [
                    (
                        kind,
                        [{"id": row[key], "loaded_version": row["version"]} for row in rows],
                    )
                    for kind, key, rows in (
                        (_CALLS_LOADED, "call_id", changes.calls),
                        (_ATTEMPTS_LOADED, "attempt_id", changes.attempts),
                    )
                ]
                + [
                    (
                        _ACTIVITY_LOADED,
                        [{"id": row["event_id"], "loaded": True} for row in changes.activity],
                    )
                ],
            )

        if changes.count:
            await self._database.transact(work)

    async def forget_loaded(self) -> None:
        """See the port."""

        def work(connection: Connection) -> None:
            if connection.execute(select(workspace.c.pruned_to)).scalar_one() is not None:
                raise ConfigurationError(
                    "`outdial db prune` has removed calls that only the warehouse has now; "
                    "loading it anew would lose them"
                )
            connection.execute(update(calls).values(loaded_version=0))
            connection.execute(update(attempts).values(loaded_version=0))
            connection.execute(update(activity_events).values(loaded=False))

        await self._database.transact(work, bulk=True)

    async def waiting(self) -> int:
        """See the port."""
        counts = [
            select(func.count()).select_from(table).where(condition).scalar_subquery()
            for table, condition in (
                (calls, calls.c.version > calls.c.loaded_version),
                (attempts, attempts.c.version > attempts.c.loaded_version),
                (activity_events, UNLOADED),
            )
        ]

        def look(connection: Connection) -> int:
            return int(sum(connection.execute(select(*counts)).one()))

        return await self._database.read(look)

"""Rows on their way to the warehouse: `ports.outbox.WarehouseOutbox` over the ledger's tables."""

from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from outdial.adapters.database.engine import Database
from outdial.adapters.database.tables import UNLOADED, activity_events, attempts, calls
from outdial.ports.outbox import Changes
from outdial.ports.warehouse import ATTEMPT_COLUMNS, CALL_COLUMNS

_CALLS = select(
    calls.c.id.label("call_id"),
    *(calls.c[name] for name in CALL_COLUMNS if name != "call_id"),
).where(calls.c.version > calls.c.loaded_version)

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
_ATTEMPTS = (
    select(
        *(
            (_OF_CALL[name] if name in _OF_CALL else attempts.c[name]).label(name)
            for name in ATTEMPT_COLUMNS
        )
    )
    .select_from(attempts.join(calls, attempts.c.call_id == calls.c.id))
    .where(attempts.c.version > attempts.c.loaded_version)
)
_ACTIVITY = select(
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
).where(UNLOADED)

_CALLS_LOADED = (
    update(calls).where(calls.c.id == bindparam("key")).values(loaded_version=bindparam("seen"))
)
_ATTEMPTS_LOADED = (
    update(attempts)
    .where(attempts.c.id == bindparam("key"))
    .values(loaded_version=bindparam("seen"))
)
_ACTIVITY_LOADED = (
    update(activity_events).where(activity_events.c.id == bindparam("key")).values(loaded=True)
)


class LedgerWarehouseOutbox:
    """See `ports.outbox.WarehouseOutbox`."""

    def __init__(self, database: Database) -> None:
        """Each method is one transaction."""
        self._database = database

    async def changes(self, limit: int) -> Changes:
        """See the port."""

        def look(connection: Connection) -> Changes:
            def rows(query: Any) -> list[Any]:  # noqa: ANN401
                return list(connection.execute(query.limit(limit)).mappings())

            return Changes(rows(_CALLS), rows(_ATTEMPTS), rows(_ACTIVITY))

        return await self._database.read(look)

    async def loaded(self, changes: Changes) -> None:
        """See the port."""

        def work(connection: Connection) -> None:
            # In id order, like every other writer of calls, so that nobody waits in a circle.
            for statement, key, rows in (
                (_CALLS_LOADED, "call_id", changes.calls),
                (_ATTEMPTS_LOADED, "attempt_id", changes.attempts),
            ):
                seen = sorted((row[key], row["version"]) for row in rows)
                if seen:
                    connection.execute(
                        statement, [{"key": one, "seen": version} for one, version in seen]
                    )
            if changes.activity:
                connection.execute(
                    _ACTIVITY_LOADED, [{"key": row["event_id"]} for row in changes.activity]
                )

        if changes.count:
            await self._database.transact(work)

    async def forget_loaded(self) -> None:
        """See the port."""

        def work(connection: Connection) -> None:
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

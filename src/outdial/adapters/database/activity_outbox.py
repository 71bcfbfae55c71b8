"""Activity events on their way out: `ports.outbox.ActivityOutbox` over the ledger's tables.

A call is leased, and only its oldest undelivered event is given, so order within a call holds
with any number of relays, and one slow call holds up no other.
"""

import secrets
from collections.abc import Sequence

from sqlalchemy import Connection, select, update

from outdial.adapters.database.engine import Clock, Database
from outdial.adapters.database.tables import activity_events, calls
from outdial.adapters.database.writes import Update, write
from outdial.ports.outbox import Delivered, Delivery, Undeliverable

_EVENT = activity_events.c
_WAITING = (_EVENT.delivered_at.is_(None), _EVENT.parked_at.is_(None))

_DELIVERED = Update("delivered", activity_events)
_REFUSED = Update("refused", activity_events)
_RELEASED = Update("released", calls)


class LedgerActivityOutbox:
    """See `ports.outbox.ActivityOutbox`; each method is one transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Both shared with the rest of the ledger."""
        self._database = database
        self._clock = clock

    async def lease_deliveries(self, limit: int, lease_seconds: float) -> list[Delivery]:
        """See the port."""
        token = secrets.token_hex(8)

        def work(connection: Connection) -> list[Delivery]:
            now = self._clock.now(connection)
            return _lease(connection, now, limit, int(lease_seconds * 1000), token)

        def look(connection: Connection) -> bool:
            now = self._clock.now(connection)
            waiting = select(calls.c.id).where(calls.c.outbox_due_at <= now).limit(1)
            return connection.execute(waiting).first() is not None

        return await self._database.transact(work) if await self._database.read(look) else []

    async def settle(self, results: Sequence[Delivered]) -> None:
        """See the port."""
        if results:
            await self._database.transact(
                lambda connection: _settle(connection, self._clock.now(connection), results)
            )

    async def undeliverable(self, limit: int = 100) -> list[Undeliverable]:
        """See the port."""
        query = (
            select(_EVENT.id, _EVENT.call_id, _EVENT.type, _EVENT.last_error, _EVENT.parked_at)
            .where(_EVENT.parked_at.is_not(None))
            .order_by(_EVENT.parked_at, _EVENT.id)
            .limit(limit)
        )

        def look(connection: Connection) -> list[Undeliverable]:
            return [
                Undeliverable(row.id, row.call_id, row.type, row.last_error or "", row.parked_at)
                for row in connection.execute(query)
            ]

        return await self._database.read(look)

    async def redrive(self, event_ids: Sequence[str] | None = None) -> int:
        """See the port."""

        def work(connection: Connection) -> int:
            now = self._clock.now(connection)
            parked = _EVENT.parked_at.is_not(None)
            wanted = parked if event_ids is None else parked & _EVENT.id.in_(event_ids)
            rows = connection.execute(select(_EVENT.id, _EVENT.call_id).where(wanted)).all()
            if rows:
                connection.execute(
                    update(activity_events)
                    .where(_EVENT.id.in_([row.id for row in rows]))
                    .values(parked_at=None, tries=0)
                )
                connection.execute(
                    update(calls)
                    # Where a delivery is under way, settling it finds that another one waits.
                    .where(
                        calls.c.id.in_({row.call_id for row in rows}),
                        calls.c.outbox_token.is_(None),
                    )
                    .values(outbox_due_at=now)
                )
            return len(rows)

        return await self._database.transact(work)


def _lease(
    connection: Connection, now: int, limit: int, lease_ms: int, token: str
) -> list[Delivery]:
    leased = list(
        connection.execute(
            select(calls.c.id)
            .where(calls.c.outbox_due_at <= now)
            .order_by(calls.c.outbox_due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).scalars()
    )
    if not leased:
        return []
    connection.execute(
        update(calls)
        .where(calls.c.id.in_(leased))
        .values(outbox_due_at=now + lease_ms, outbox_token=token)
    )
    events = connection.execute(
        select(_EVENT.id, _EVENT.call_id, _EVENT.event, _EVENT.tries, _EVENT.recorded_at)
        .where(_EVENT.call_id.in_(leased), *_WAITING)
        .order_by(_EVENT.call_id, _EVENT.sequence)
    )
    oldest: dict[str, Delivery] = {}
    for row in events:
        if row.call_id not in oldest:
            oldest[row.call_id] = Delivery(
                call_id=row.call_id,
                lease_token=token,
                event_id=row.id,
                event=row.event.encode(),
                tries=row.tries,
                waiting_since=row.recorded_at,
            )
    idle = [call_id for call_id in leased if call_id not in oldest]
    if idle:
        connection.execute(
            update(calls).where(calls.c.id.in_(idle)).values(outbox_due_at=None, outbox_token=None)
        )
    return list(oldest.values())


def _settle(connection: Connection, now: int, results: Sequence[Delivered]) -> None:
    by_call = {result.delivery.call_id: result for result in results}
    leases = connection.execute(
        select(calls.c.id, calls.c.outbox_token)
        .where(calls.c.id.in_(by_call))
        .order_by(calls.c.id)
        .with_for_update()
    )
    held = {row.id for row in leases if row.outbox_token == by_call[row.id].delivery.lease_token}
    # That the sink took it is true whoever holds the lease now.
    taken = [
        {
            "id": r.delivery.event_id,
            "delivered_at": now,
            "tries": r.delivery.tries + 1,
            "last_error": None,
        }
        for r in results
        if r.error is None
    ]
    refused = [
        {
            "id": r.delivery.event_id,
            "parked_at": now if r.park else None,
            "tries": r.delivery.tries + 1,
            "last_error": r.error,
        }
        for r in results
        if r.error is not None and r.delivery.call_id in held
    ]
    write(connection, [(_DELIVERED, taken), (_REFUSED, refused)])
    waiting = set(
        connection.execute(
            select(_EVENT.call_id).where(_EVENT.call_id.in_(held), *_WAITING).distinct()
        ).scalars()
    )
    released = [
        {
            "id": call_id,
            "outbox_due_at": now + by_call[call_id].retry_ms if call_id in waiting else None,
            "outbox_token": None,
        }
        for call_id in held
    ]
    write(connection, [(_RELEASED, released)])

"""Which calls go to the call queue next: `ports.outbox.DueCalls` over the ledger's tables."""

import random
from collections.abc import Sequence
from itertools import chain, zip_longest

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select, text, update

from outdial.adapters.database.engine import Clock, Database
from outdial.adapters.database.intake import count_published, unpublish
from outdial.adapters.database.tables import (
    EXPIRING,
    PUBLISHED,
    SCHEDULED,
    UNPUBLISHED,
    UNSETTLED,
    attempts,
    calls,
)
from outdial.adapters.database.transitions import Batch
from outdial.adapters.database.workspace import SEPARATOR, opening, read_workspace
from outdial.core.call import CallStatus, Request, decide_call
from outdial.ports.outbox import DueCall

#: The lanes that have something waiting, found by one index look-up a lane: a million calls
#: waiting in one campaign cost as much as one.
_LANES = text(f"""
WITH RECURSIVE lanes(lane) AS (
    SELECT min(lane) FROM calls WHERE {UNPUBLISHED}
    UNION ALL
    SELECT (SELECT min(calls.lane) FROM calls WHERE {UNPUBLISHED} AND calls.lane > lanes.lane)
    FROM lanes WHERE lanes.lane IS NOT NULL
)
SELECT lane FROM lanes WHERE lane IS NOT NULL
""")  # noqa: S608 - put together from constants
#: At most so many are published or taken over in one transaction.
_BATCH = 1000


class LedgerDueCalls:
    """See `ports.outbox.DueCalls`; each method is one transaction."""

    def __init__(self, database: Database, clock: Clock, republish_ms: int) -> None:
        """`republish_ms`: after it a published call that nobody claims may have lost its hint."""
        self._database = database
        self._clock = clock
        self._republish_ms = republish_ms

    async def promote(self, limit: int = 500) -> int:
        """See the port."""

        def work(connection: Connection) -> int:
            return _promote(connection, self._clock, limit)

        if not await self._database.read(self._something_to_promote):
            return 0
        return await self._database.transact(work)

    def _something_to_promote(self, connection: Connection) -> bool:
        now = self._clock.now(connection)
        return (
            connection.execute(select(calls.c.id).where(_promotable(now)).limit(1)).first()
            is not None
        )

    async def lease_due(self, ahead: int) -> list[DueCall]:
        """See the port."""

        def look(connection: Connection) -> bool:
            space = read_workspace(connection, self._clock, lock=False)
            now = space.now
            if space.stopped is not None:
                return False
            return any(
                connection.execute(query.limit(1)).first() is not None
                for query in (
                    select(calls.c.id).where(UNPUBLISHED, calls.c.due_at <= now),
                    _orphans(now, self._republish_ms),
                )
            )

        def work(connection: Connection) -> list[DueCall]:
            return _lease_due(connection, self._clock, ahead, self._republish_ms)

        return await self._database.transact(work) if await self._database.read(look) else []

    async def unpublish(self, call_ids: Sequence[str]) -> None:
        """See the port."""
        await self._database.transact(lambda connection: unpublish(connection, call_ids))

    async def republish_old_hints(self, held: int) -> int:
        """See the port."""

        def look(connection: Connection) -> bool:
            old = select(calls.c.id).where(self._published_before(connection, self._republish_ms))
            return connection.execute(old.limit(1)).first() is not None

        def work(connection: Connection) -> int:
            # Sent again though it is there, a hint is one too many: where dialing is slower than
            # its rate allows, each round of them would add to the queue as many as wait.
            lost = count_published(connection, held + 1) > held
            old = self._published_before(connection, self._republish_ms)
            at = None if lost else self._clock.now(connection)
            changed = connection.execute(update(calls).where(old).values(published_at=at)).rowcount
            return changed if lost else 0

        return await self._database.transact(work) if await self._database.read(look) else 0

    async def republish_lost_hints(self, older_than_ms: int) -> int:
        """See the port."""

        def work(connection: Connection) -> int:
            lost = self._published_before(connection, older_than_ms)
            return connection.execute(update(calls).where(lost).values(published_at=None)).rowcount

        return await self._database.transact(work)

    def _published_before(self, connection: Connection, ago_ms: int) -> ColumnElement[bool]:
        return and_(PUBLISHED, calls.c.published_at <= self._clock.now(connection) - ago_ms)


def _promotable(now: int) -> ColumnElement[bool]:
    return or_(
        and_(SCHEDULED, calls.c.not_before <= now), and_(EXPIRING, calls.c.expires_at <= now)
    )


def _promote(connection: Connection, clock: Clock, limit: int) -> int:
    batch = Batch(*opening(connection, clock))
    now = batch.now
    # Found by their own indexes first: in id order, as locks are taken, all history lies before.
    found = connection.execute(select(calls.c.id).where(_promotable(now)).limit(limit)).scalars()
    batch.lock_calls(connection, calls.c.id.in_(found.all()))
    for call in batch.calls.values():
        expired = call.expires_at is not None and call.expires_at <= now
        request = Request.EXPIRE if expired else Request.DUE
        told = call.state["told_initiated"]
        batch.apply_to_call(call, decide_call(call.status, request, call_told=told))
    batch.flush(connection)
    return len(batch.calls)


def _lease_due(
    connection: Connection, clock: Clock, ahead: int, republish_ms: int
) -> list[DueCall]:
    space = read_workspace(connection, clock, lock=True)
    now = space.now
    if space.stopped is not None:
        return []
    again = [
        DueCall(row.id, row.lane)
        for row in connection.execute(_orphans(now, republish_ms).limit(_BATCH))
    ]
    quota = min(_BATCH, ahead - count_published(connection, ahead))
    lanes = [lane for lane in connection.execute(_LANES).scalars() if not space.lane_paused(lane)]
    fresh = _take_turns(connection, now, lanes, quota) if quota > 0 and lanes else []
    due = [*again, *fresh]
    if due:
        connection.execute(
            update(calls)
            .where(calls.c.id.in_([call.call_id for call in due]))
            .values(published_at=now)
        )
    return [DueCall(call.call_id, call.group.replace(SEPARATOR, "/")) for call in due]


def _take_turns(
    connection: Connection, now: int, lanes: Sequence[str], quota: int
) -> list[DueCall]:
    # Where there are more lanes than places, chance decides who begins, so nobody always waits.
    start = random.randrange(len(lanes))  # noqa: S311 - fairness, not secrecy
    turns = [*lanes[start:], *lanes[:start]][:quota]
    columns: dict[str, list[DueCall]] = {lane: [] for lane in turns}
    left = quota
    # What a short lane leaves of its share goes to those that have more.
    while turns and left > 0:
        share = max(1, left // len(turns))
        for lane in list(turns):
            column = columns[lane]
            more = _oldest(connection, now, lane, len(column), min(share, left))
            column += more
            left -= len(more)
            if len(more) < share:
                turns.remove(lane)
    return [
        call for call in chain.from_iterable(zip_longest(*columns.values())) if call is not None
    ]


def _oldest(connection: Connection, now: int, lane: str, after: int, limit: int) -> list[DueCall]:
    rows = connection.execute(
        select(calls.c.id)
        .where(UNPUBLISHED, calls.c.lane == lane, calls.c.due_at <= now)
        .order_by(calls.c.due_at)
        .offset(after)
        .limit(limit)
    ).scalars()
    return [DueCall(call_id, lane) for call_id in rows]


def _orphans(now: int, republish_ms: int) -> Select[tuple[str, str]]:
    """Calls whose attempt's lease is over and whose hint was not sent since."""
    return (
        select(calls.c.id, calls.c.lane)
        .select_from(attempts.join(calls, attempts.c.call_id == calls.c.id))
        .where(
            UNSETTLED,
            attempts.c.lease_until <= now,
            calls.c.status == CallStatus.DIALING.value,
            or_(
                calls.c.published_at.is_(None),
                calls.c.published_at < attempts.c.lease_until,
                calls.c.published_at <= now - republish_ms,
            ),
        )
    )

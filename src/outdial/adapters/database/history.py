"""Removing what ended long ago: `outdial db prune`.

The ledger is walked in id order, which is that of acceptance, a batch a transaction, and calls
that somebody else holds are passed over. How far it came is kept: what Retell or the warehouse
later says of a call up to there is no alarm.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    case,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)

from outdial.adapters.database.engine import Clock, Database
from outdial.adapters.database.intake import KEY_LIFETIME_MS
from outdial.adapters.database.tables import (
    activity_events,
    alarms,
    attempts,
    calls,
    idempotency_keys,
    provider_events,
    workspace,
)
from outdial.core.call import CALL_ENDS, LIVE, UNSETTLED

#: Nothing younger is removed: idempotency keys are kept so long, and name their calls.
LEAST_KEPT_MS = KEY_LIFETIME_MS + 24 * 3600 * 1000
#: Calls looked at in one transaction; it takes tens of milliseconds.
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Pruned:
    """A batch: rows removed by table; calls kept, by why; `done` is the share of the work."""

    removed: Mapping[str, int]
    kept: Mapping[str, int]
    done: float


class LedgerHistory:
    """See `prune`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Both shared with the rest of the ledger."""
        self._database = database
        self._clock = clock

    async def prune(self, keep_ms: int, *, dry_run: bool = False) -> AsyncIterator[Pruned]:
        """Remove calls that ended more than `keep_ms` ago with all their rows, batch by batch.

        Kept are calls that are open, undelivered, not loaded, provisional, or under an alarm. Then
        go events of nobody's calls, and idempotency keys whose time is over. With `dry_run` all is
        counted and nothing removed.
        """
        keep_ms = max(keep_ms, LEAST_KEPT_MS)
        before = await self._database.read(self._clock.now) - keep_ms
        last = _first_id(before)
        total = await self._database.read(lambda c: _count(c, last))
        after, seen = "", 0
        while True:
            work = _Batch(after, last, before, dry_run=dry_run)
            # A dry run takes no locks that a worker might wait for.
            batch = await (self._database.read if dry_run else self._database.transact)(work.run)
            if not batch.looked_at:
                break
            after = batch.last
            seen += batch.looked_at
            yield Pruned(batch.removed, batch.kept, 0.9 * seen / max(total, seen))
        for table, old in _LEFTOVERS.items():
            while removed := await self._remove(table, old(before), dry_run=dry_run):
                yield Pruned({table.name: removed}, {}, 0.95)
                if dry_run:
                    break
        yield Pruned({}, {}, 1.0)

    async def _remove(self, table: Table, old: ColumnElement[bool], *, dry_run: bool) -> int:
        def count(connection: Connection) -> int:
            found = select(func.count()).select_from(table).where(old)
            return int(connection.execute(found).scalar_one())

        def remove(connection: Connection) -> int:
            key = table.primary_key.columns.values()
            some = select(*key).where(old).limit(_BATCH)
            if len(key) == 1:
                chosen: ColumnElement[bool] = key[0].in_(some)
            else:
                rows = connection.execute(some).all()
                chosen = or_(
                    literal(value=False),
                    *(and_(*(c == v for c, v in zip(key, row, strict=True))) for row in rows),
                )
            return connection.execute(delete(table).where(chosen)).rowcount

        if dry_run:
            return await self._database.read(count)
        return await self._database.transact(remove)


#: What belongs to no call that is kept or removed with one, and until when it is of use.
_LEFTOVERS: Mapping[Table, Any] = {
    provider_events: lambda before: and_(
        provider_events.c.received_at < before,
        provider_events.c.call_id.is_(None),
        provider_events.c.processed_at.is_not(None),
    ),
    idempotency_keys: lambda before: idempotency_keys.c.created_at < before,
}


def _first_id(moment: int) -> str:
    """No call accepted before has a greater id: UUIDv7 begins with the ms since the epoch."""
    digits = f"{moment:012x}"
    return f"{digits[:8]}-{digits[8:]}"


def _count(connection: Connection, last: str) -> int:
    query = select(func.count()).select_from(calls).where(calls.c.id < last)
    return int(connection.execute(query).scalar_one())


def _of_call(table: Table, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(table.c.call_id == calls.c.id, *conditions)


#: Why a call that ended long ago is kept, the first that holds; null where it may go.
_KEPT = case(
    (
        or_(
            calls.c.outbox_due_at.is_not(None),
            _of_call(activity_events, activity_events.c.delivered_at.is_(None)),
        ),
        "not delivered",
    ),
    (
        or_(
            calls.c.version > calls.c.loaded_version,
            _of_call(attempts, attempts.c.version > attempts.c.loaded_version),
            _of_call(activity_events, activity_events.c.loaded.is_(False)),
        ),
        "not loaded",
    ),
    (
        _of_call(
            attempts,
            or_(
                attempts.c.provisional,
                attempts.c.line_open,
                attempts.c.silent_since.is_not(None),
                attempts.c.status.in_([status.value for status in UNSETTLED | LIVE]),
            ),
        ),
        "provisional",
    ),
    (_of_call(alarms), "under an alarm"),
)


class _Batch:
    """One transaction of a prune; `run` may run more than once."""

    def __init__(self, after: str, last: str, before: int, *, dry_run: bool) -> None:
        self._after = after
        self._last = last
        self._before = before
        self._dry_run = dry_run

    def run(self, connection: Connection) -> "_Looked":
        ended = and_(
            calls.c.status.in_([status.value for status in CALL_ENDS]),
            calls.c.updated_at < self._before,
        )
        page = (
            select(calls.c.id, ended.label("ended"), _KEPT.label("kept"))
            .where(calls.c.id > self._after, calls.c.id < self._last)
            .order_by(calls.c.id)
            .limit(_BATCH)
        )
        rows = connection.execute(page).all()
        kept = Counter("open or young" if not row.ended else row.kept or "" for row in rows)
        going = [row.id for row in rows if row.ended and row.kept is None]
        del kept[""]
        if not self._dry_run and going:
            # Whoever works on one of them keeps it for the next time.
            held = select(calls.c.id).where(calls.c.id.in_(going), ended, _KEPT.is_(None))
            free = connection.execute(
                held.order_by(calls.c.id).with_for_update(skip_locked=True, of=calls)
            ).scalars()
            going = list(free)
        removed = self._remove(connection, going)
        return _Looked(len(rows), rows[-1].id if rows else "", removed, kept)

    def _remove(self, connection: Connection, going: list[str]) -> dict[str, int]:
        removed: dict[str, int] = {}
        if not going:
            return removed
        for table in (provider_events, activity_events, attempts, calls):
            chosen = (calls.c.id if table is calls else table.c.call_id).in_(going)
            if self._dry_run:
                found = select(func.count()).select_from(table).where(chosen)
                removed[table.name] = connection.execute(found).scalar_one()
            else:
                removed[table.name] = connection.execute(delete(table).where(chosen)).rowcount
        if not self._dry_run:
            mark = func.coalesce(workspace.c.pruned_to, "")
            connection.execute(
                update(workspace).where(mark < going[-1]).values(pruned_to=going[-1])
            )
        return removed


@dataclass(frozen=True, slots=True)
class _Looked:
    """What a transaction found; `last` is the id where the next one goes on."""

    looked_at: int
    last: str
    removed: Mapping[str, int]
    kept: Mapping[str, int]

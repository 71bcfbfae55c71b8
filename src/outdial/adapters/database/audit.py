"""The ledger, to be judged: `ports.audit.LedgerAudit` over its tables.

Every page is one snapshot, so whatever runs meanwhile shows either wholly or not at all. Rows
are hashed as they are read: however long their transcripts are, a page stays small.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, RowMapping, Select, exists, func, or_, select

from outdial.adapters.database.engine import Clock, Database
from outdial.adapters.database.kept_bodies import Kept, read_bodies
from outdial.adapters.database.tables import (
    LINE_OPEN,
    PUBLISHED,
    activity_events,
    alarms,
    attempts,
    calls,
    pauses,
    provider_events,
    workspace,
)
from outdial.adapters.database.warehouse_outbox import ACTIVITY_ROWS, ATTEMPT_ROWS, CALL_ROWS
from outdial.adapters.database.workspace import SEPARATOR
from outdial.core.call import AttemptStatus, CallStatus
from outdial.core.digest import row_digest
from outdial.ports.audit import (
    AuditedActivity,
    AuditedAttempt,
    AuditedCall,
    AuditedEvent,
    CallsAtOnce,
    EventsAtOnce,
    Extent,
    RaisedAlarm,
    Stamp,
)
from outdial.ports.inbox import Disposition
from outdial.ports.warehouse import ACTIVITY_COLUMNS, ATTEMPT_COLUMNS, CALL_COLUMNS

#: Rows fetched at a time; each may hold a long transcript.
_FETCH = 100

_CALLS = CALL_ROWS.add_columns(
    calls.c.lane,
    calls.c.due_at,
    calls.c.published_at,
    calls.c.sequence,
    calls.c.outbox_due_at,
    calls.c.loaded_version,
).order_by(calls.c.id)
_ANALYSIS_KEPT = or_(
    attempts.c.analysis_sha256.is_(None),
    exists().where(
        provider_events.c.call_id == attempts.c.call_id,
        provider_events.c.attempt_id == attempts.c.id,
        provider_events.c.sha256 == attempts.c.analysis_sha256,
    ),
).label("analysis_kept")
_ATTEMPTS = ATTEMPT_ROWS.add_columns(
    attempts.c.line_open,
    attempts.c.lease_until,
    attempts.c.claimed_at,
    attempts.c.silent_since,
    attempts.c.asked_at,
    attempts.c.loaded_version,
    _ANALYSIS_KEPT,
).order_by(attempts.c.call_id, attempts.c.number)
_HEARD = ("claimed_at", "initiated_at", "started_at", "silent_since", "asked_at")
_ACTIVITY = ACTIVITY_ROWS.add_columns(
    (activity_events.c.delivered_at.is_(None) & activity_events.c.parked_at.is_(None)).label(
        "waits"
    ),
    activity_events.c.loaded,
).order_by(activity_events.c.call_id, activity_events.c.sequence)
_EVENT = provider_events.c
_EVENTS = select(
    _EVENT.id,
    _EVENT.event,
    _EVENT.retell_call_id,
    _EVENT.disposition,
    _EVENT.processed_at,
    _EVENT.received_at,
    _EVENT.call_id,
    _EVENT.attempt_id,
)


class LedgerAudit:
    """See `ports.audit.LedgerAudit`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Each method reads one snapshot."""
        self._database = database
        self._clock = clock

    async def extent(self) -> Extent:
        """See the port."""
        query = select(
            workspace.c.deployment,
            workspace.c.pruned_to,
            select(func.count()).select_from(calls).scalar_subquery().label("calls"),
            select(func.count()).select_from(provider_events).scalar_subquery().label("events"),
            select(func.max(calls.c.id)).scalar_subquery().label("last"),
        )

        def look(connection: Connection) -> Extent:
            row = connection.execute(query).one()
            return Extent(
                row.deployment, row.calls, row.events, row.last or "", row.pruned_to or ""
            )

        return await self._database.read(look)

    async def calls(self, after: str, last: str, limit: int) -> CallsAtOnce:
        """See the port."""

        def look(connection: Connection) -> CallsAtOnce:
            page = (calls.c.id > after, calls.c.id <= last)
            # Its end first: whatever belongs to these calls is then one range of an index.
            ids = select(calls.c.id).where(*page).order_by(calls.c.id).limit(limit).subquery()
            end = connection.execute(select(func.max(ids.c.id))).scalar_one()
            return self._read(connection, lambda key: (key > after) & (key <= (end or "")))

        return await self._database.read(look)

    async def calls_by_id(self, call_ids: Collection[str]) -> CallsAtOnce:
        """See the port."""
        return await self._database.read(
            lambda connection: self._read(connection, lambda key: key.in_(call_ids))
        )

    async def events(self, after: str, limit: int) -> EventsAtOnce:
        """See the port."""
        page = _EVENTS.where(_EVENT.id > after).order_by(_EVENT.id).limit(limit)

        def look(connection: Connection) -> EventsAtOnce:
            now = self._clock.now(connection)
            rows = connection.execute(page).mappings().all()
            last = rows[-1]["id"] if rows else after
            kept = read_bodies(connection, (_EVENT.id > after) & (_EVENT.id <= last))
            named = {row["attempt_id"] for row in rows if row["attempt_id"] is not None}
            about = {row["retell_call_id"] for row in rows}
            found = _attempts_where(
                connection, or_(attempts.c.id.in_(named), attempts.c.retell_call_id.in_(about))
            )
            by_retell_id = {one.retell_call_id: (call, one) for call, one in found.values()}
            return EventsAtOnce(
                now, [_event(row, kept[row["id"]], found, by_retell_id) for row in rows]
            )

        return await self._database.read(look)

    async def attempts(
        self, attempt_ids: Collection[str]
    ) -> Mapping[str, tuple[str, AuditedAttempt]]:
        """See the port."""
        return await self._database.read(
            lambda connection: _attempts_where(connection, attempts.c.id.in_(attempt_ids))
        )

    async def alarms(self, limit: int) -> list[RaisedAlarm]:
        """See the port."""
        query = select(alarms).order_by(alarms.c.raised_at, alarms.c.id).limit(limit)

        def look(connection: Connection) -> list[RaisedAlarm]:
            return [
                RaisedAlarm(row.kind, row.call_id, row.attempt_id, row.retell_call_id)
                for row in connection.execute(query)
            ]

        return await self._database.read(look)

    def _read(self, connection: Connection, wanted: Any) -> CallsAtOnce:  # noqa: ANN401
        """The calls whose id satisfies `wanted`, a condition on whichever column holds it."""
        now = self._clock.now(connection)
        stopped, paused = _stops(connection)
        tries: dict[str, list[AuditedAttempt]] = defaultdict(list)
        for row in _streamed(connection, _ATTEMPTS.where(wanted(attempts.c.call_id))):
            tries[row["call_id"]].append(_attempt(row))
        activity: dict[str, list[AuditedActivity]] = defaultdict(list)
        for row in _streamed(connection, _ACTIVITY.where(wanted(activity_events.c.call_id))):
            activity[row["call_id"]].append(_activity(row))
        found = [
            AuditedCall(
                id=row["call_id"],
                status=CallStatus(row["status"]),
                not_before=row["not_before"],
                expires_at=row["expires_at"],
                due_at=row["due_at"],
                published_at=row["published_at"],
                held=stopped or _pause(paused, row["lane"]),
                attempts=row["attempts"],
                sequence=row["sequence"],
                outbox_due_at=row["outbox_due_at"],
                stamp=_stamp(row, "call_id", CALL_COLUMNS, row["loaded_version"]),
                tries=tries.pop(row["call_id"], []),
                activity=activity.pop(row["call_id"], []),
            )
            for row in _streamed(connection, _CALLS.where(wanted(calls.c.id)))
        ]
        return CallsAtOnce(now, _others_are_ahead(connection), found)


def _streamed(connection: Connection, query: Select[Any]) -> Any:  # noqa: ANN401 - a result
    return connection.execute(query.execution_options(yield_per=_FETCH)).mappings()


def _stops(connection: Connection) -> tuple[str | None, set[tuple[str, str]]]:
    reason = connection.execute(select(workspace.c.circuit_reason)).scalar_one()
    paused = {
        (row.tenant, row.campaign)
        for row in connection.execute(select(pauses.c.tenant, pauses.c.campaign))
    }
    if reason is not None:
        return "circuit", paused
    return ("paused" if ("", "") in paused else None), paused


def _pause(paused: set[tuple[str, str]], lane: str) -> str | None:
    tenant, _, campaign = lane.partition(SEPARATOR)
    held = paused & {(tenant, ""), ("", campaign), (tenant, campaign)}
    return "paused" if held else None


def _others_are_ahead(connection: Connection) -> bool:
    return any(
        connection.execute(query.limit(1)).first() is not None
        for query in (
            select(calls.c.published_at).where(PUBLISHED),
            select(attempts.c.id).where(LINE_OPEN),
        )
    )


def _attempts_where(
    connection: Connection, wanted: ColumnElement[bool]
) -> dict[str, tuple[str, AuditedAttempt]]:
    rows = _streamed(connection, _ATTEMPTS.where(wanted))
    return {row["attempt_id"]: (row["call_id"], _attempt(row)) for row in rows}


def _attempt(row: RowMapping) -> AuditedAttempt:
    return AuditedAttempt(
        id=row["attempt_id"],
        number=row["number"],
        status=AttemptStatus(row["status"]),
        retell_call_id=row["retell_call_id"],
        line_open=row["line_open"],
        lease_until=row["lease_until"],
        heard_at=max(row[name] or 0 for name in _HEARD),
        disconnection_reason=row["disconnection_reason"],
        provisional=row["provisional"],
        analysis_kept=bool(row["analysis_kept"]),
        stamp=_stamp(row, "attempt_id", ATTEMPT_COLUMNS, row["loaded_version"]),
    )


def _activity(row: RowMapping) -> AuditedActivity:
    return AuditedActivity(
        id=row["event_id"],
        attempt_id=row["attempt_id"],
        attempt=row["attempt"],
        type=row["type"],
        sequence=row["sequence"],
        event=row["data"],
        waits=bool(row["waits"]),
        stamp=_stamp(row, "event_id", ACTIVITY_COLUMNS, int(row["loaded"])),
    )


def _event(
    row: RowMapping,
    kept: Kept,
    found: Mapping[str, tuple[str, AuditedAttempt]],
    by_retell_id: Mapping[str | None, tuple[str, AuditedAttempt]],
) -> AuditedEvent:
    known = by_retell_id.get(row["retell_call_id"]) or found.get(row["attempt_id"])
    return AuditedEvent(
        id=row["id"],
        event=row["event"],
        retell_call_id=row["retell_call_id"],
        foreign=row["disposition"] == Disposition.FOREIGN,
        processed=row["processed_at"] is not None,
        received_at=row["received_at"],
        call_id=row["call_id"],
        attempt_id=row["attempt_id"],
        known=known[1] if known else None,
        known_call_id=known[0] if known else None,
        intact=kept.intact,
        differs=kept.differs,
    )


def _stamp(row: RowMapping, key: str, columns: Mapping[str, str], loaded: int) -> Stamp:
    stored = {
        name: orjson.dumps(row[name]).decode()
        if kind == "json" and row[name] is not None and not isinstance(row[name], str)
        else row[name]
        for name, kind in columns.items()
    }
    version = row["version"] if "version" in columns else 1
    return Stamp(row[key], version, loaded, row_digest(columns, stored))

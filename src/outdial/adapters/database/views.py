"""Calls as they are shown: one with its attempts and timeline, or a page of them."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from outdial.adapters.database.tables import activity_events, alarms, attempts, calls
from outdial.core.call import ActivityType, AttemptStatus, CallStatus
from outdial.ports.intake import AttemptRecord, CallPage, CallRecord, TimelineEntry

_ATTEMPT_FIELDS = tuple(
    attempts.c[field.name] for field in fields(AttemptRecord) if field.name in attempts.c
)
_CALL_FIELDS = tuple(
    calls.c[field.name]
    for field in fields(CallRecord)
    if field.name not in {"attempts", "timeline"}
)


def call_record(connection: Connection, tenant: str | None, call_id: str) -> CallRecord | None:
    """The call with attempts and timeline; None where this tenant has none of this id."""
    query = select(*_CALL_FIELDS, calls.c.message).where(calls.c.id == call_id)
    if tenant is not None:
        query = query.where(calls.c.tenant == tenant)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    tries = connection.execute(
        select(
            *_ATTEMPT_FIELDS,
            attempts.c.first_submitted_at,
            attempts.c.lease_until,
            attempts.c.absent_at,
        )
        .where(attempts.c.call_id == call_id)
        .order_by(attempts.c.number)
    )
    rows = tries.mappings().all()
    told = connection.execute(
        select(
            activity_events.c.type,
            activity_events.c.attempt,
            activity_events.c.occurred_at,
            activity_events.c.recorded_at,
        )
        .where(activity_events.c.call_id == call_id)
        .order_by(activity_events.c.sequence)
    ).mappings()
    raised = connection.execute(
        select(alarms.c.raised_at, alarms.c.kind, attempts.c.number)
        .select_from(alarms.join(attempts, alarms.c.attempt_id == attempts.c.id))
        .where(alarms.c.call_id == call_id)
        .order_by(alarms.c.raised_at, alarms.c.id)
    )
    timeline = _timeline(row, rows, told.all())
    timeline += [TimelineEntry(at, "alarm", number, kind) for at, kind, number in raised]
    return _call(row, tuple(_attempt(one) for one in rows), tuple(timeline))


def call_page(
    connection: Connection,
    tenant: str | None,
    filters: Mapping[str, str],
    cursor: str | None,
    limit: int,
) -> CallPage:
    """Newest first; ids are UUIDv7, so their order is that of acceptance."""
    query = select(*_CALL_FIELDS).order_by(calls.c.id.desc()).limit(limit + 1)
    if tenant is not None:
        query = query.where(calls.c.tenant == tenant)
    for name, value in filters.items():
        query = query.where(calls.c[name] == value)
    if cursor is not None:
        query = query.where(calls.c.id < _open_cursor(cursor))
    rows = connection.execute(query).mappings().all()
    items = tuple(_call(row) for row in rows[:limit])
    more = len(rows) > limit
    return CallPage(items, _make_cursor(items[-1].id) if more else None)


def _call(
    row: RowMapping,
    tries: tuple[AttemptRecord, ...] = (),
    timeline: tuple[TimelineEntry, ...] = (),
) -> CallRecord:
    values: dict[str, Any] = {column.name: row[column.name] for column in _CALL_FIELDS}
    values["status"] = CallStatus(row["status"])
    return CallRecord(**values, attempts=tries, timeline=timeline)


def _attempt(row: RowMapping) -> AttemptRecord:
    values: dict[str, Any] = {column.name: row[column.name] for column in _ATTEMPT_FIELDS}
    unknown = row["status"] == AttemptStatus.UNKNOWN.value
    return AttemptRecord(
        **values,
        submitted_at=row["first_submitted_at"],
        next_look_up_at=row["lease_until"] if unknown else None,
    )


def _timeline(
    call: RowMapping, tries: Sequence[RowMapping], told: Sequence[RowMapping]
) -> list[TimelineEntry]:
    """What was told, in its order; the doubts about an attempt come before all of its events."""
    entries = [TimelineEntry(call["created_at"], "accepted")]
    doubts = [doubt for attempt in tries for doubt in _doubts(attempt)]
    for event in told:
        while doubts and (event["attempt"] is None or (doubts[0].attempt or 0) <= event["attempt"]):
            entries.append(doubts.pop(0))
        ends = event["type"] == ActivityType.NOT_PLACED
        entries.append(
            TimelineEntry(
                at=event["occurred_at"],
                kind=event["type"],
                attempt=event["attempt"],
                reason=(call["message"] or call["reason"]) if ends else None,
            )
        )
    return entries + doubts


def _doubts(attempt: RowMapping) -> list[TimelineEntry]:
    number = attempt["number"]
    entries = []
    if attempt["unknown_since"] is not None:
        entries.append(
            TimelineEntry(
                attempt["unknown_since"], "submission_unknown", number, attempt["message"]
            )
        )
    if attempt["absent_at"] is not None:
        entries.append(TimelineEntry(attempt["absent_at"], "not_found", number))
    return entries


def _make_cursor(last_id: str) -> str:
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def _open_cursor(cursor: str) -> str:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        opened = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise ValueError("the cursor is not one that a list gave") from None
    return opened

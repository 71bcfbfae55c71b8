"""Rows as people export them: calls with their latest attempt, and attempts; and one call whole.

Pages are cut by (moment, id), newest first, so rows that come in between shift nothing.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from outdial.analytics.metrics import Grain
from outdial.analytics.questions import Filters, condition, source
from outdial.analytics.scope import OwnRows

#: Columns of a call, each with its SQL; `…_at` are times in ms.
CALL_ROW: dict[str, str] = {
    "id": "c.call_id",
    "status": "c.status",
    "reason": "c.reason",
    "external_id": "c.external_id",
    "campaign": "c.campaign",
    "agent_id": "COALESCE(a.agent_id, c.agent_id)",
    "agent_version": "COALESCE(a.agent_version, c.agent_version)",
    "to_number": "COALESCE(a.to_number, c.to_number)",
    "from_number": "COALESCE(a.from_number, c.from_number)",
    "created_at": "c.created_at",
    "updated_at": "c.updated_at",
    "not_before": "c.not_before",
    "expires_at": "c.expires_at",
    "attempts": "c.attempts",
    "retell_call_id": "a.retell_call_id",
    "submitted_at": "a.submitted_at",
    "started_at": "a.started_at",
    "ended_at": "a.ended_at",
    "connected": "a.connected",
    "outcome": "a.outcome",
    "disconnection_reason": "a.disconnection_reason",
    "duration_ms": "a.duration_ms",
    "call_successful": "a.call_successful",
    "user_sentiment": "a.user_sentiment",
    "in_voicemail": "a.in_voicemail",
    "call_summary": "a.call_summary",
    "cost_usd": "a.cost_usd",
    "recording_url": "a.recording_url",
}

#: Columns of an attempt.
ATTEMPT_ROW: dict[str, str] = {
    name if name != "attempt_id" else "id": f"a.{name}"
    for name in (
        "attempt_id",
        "call_id",
        "number",
        "status",
        "retell_call_id",
        "call_status",
        "external_id",
        "campaign",
        "agent_id",
        "agent_version",
        "to_number",
        "from_number",
        "accepted_at",
        "submitted_at",
        "initiated_at",
        "started_at",
        "ended_at",
        "analyzed_at",
        "connected",
        "outcome",
        "disconnection_reason",
        "duration_ms",
        "call_successful",
        "user_sentiment",
        "in_voicemail",
        "call_summary",
        "cost_usd",
        "recording_url",
        "latency_p50_ms",
        "provisional",
    )
}

COLUMNS = {Grain.CALL: CALL_ROW, Grain.ATTEMPT: ATTEMPT_ROW}
#: Columns that are times.
TIMES = frozenset(
    name
    for columns in COLUMNS.values()
    for name in columns
    if name.endswith("_at") or name == "not_before"
)

_ID = {Grain.CALL: "c.call_id", Grain.ATTEMPT: "a.attempt_id"}
_MOMENT = {Grain.CALL: "c.moment", Grain.ATTEMPT: "a.moment"}


class BadCursorError(ValueError):
    """The cursor is none of ours."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows by column name, newest first; `next_cursor` is None on the last page."""

    items: list[dict[str, Any]]
    next_cursor: str | None


async def page(
    own: OwnRows, grain: Grain, filters: Filters, *, limit: int, cursor: str | None = None
) -> Page:
    """One page of rows. Raises `BadCursorError`."""
    columns = COLUMNS[grain]
    where = condition(filters, grain)
    parameters = list(where.parameters)
    moment, identity = _MOMENT[grain], _ID[grain]
    after = ""
    if cursor is not None:
        at, last = _read_cursor(cursor)
        after = f"AND ({moment} < ? OR ({moment} = ? AND {identity} < ?))"
        parameters += [at, at, last]
    rows = await own.ask(
        f"SELECT {', '.join(columns.values())}, {moment} "  # noqa: S608 - own expressions
        f"FROM {source(grain, *columns.values())} WHERE {where.sql} {after} "
        f"ORDER BY {moment} DESC, {identity} DESC LIMIT {limit + 1}",
        parameters,
        filters.tz,
    )
    items = [dict(zip(columns, row, strict=False)) for row in rows[:limit]]
    more = len(rows) > limit
    return Page(items, _cursor(rows[limit - 1][-1], items[-1]["id"]) if more else None)


def export(grain: Grain, filters: Filters) -> tuple[str, list[Any]]:
    """The SELECT, and its parameters, of all rows, newest first; times as timestamps."""
    where = condition(filters, grain)
    columns = [
        f"{f'make_timestamp({sql} * 1000)' if name in TIMES else sql} AS {name}"
        for name, sql in COLUMNS[grain].items()
    ]
    select = (
        f"SELECT {', '.join(columns)} FROM {source(grain, *columns)} "  # noqa: S608 - likewise
        f"WHERE {where.sql} ORDER BY {_MOMENT[grain]} DESC, {_ID[grain]} DESC"
    )
    return select, where.parameters


@dataclass(frozen=True, slots=True)
class CallStory:
    """One call, its attempts in order (with transcript and metadata), and what happened when.

    `timeline` entries: `at` (ms), `kind`, and where they are there `attempt`, `reason`.
    """

    call: Mapping[str, Any]
    attempts: list[dict[str, Any]]
    timeline: list[dict[str, Any]]


_DETAILS: dict[str, str] = {
    **ATTEMPT_ROW,
    "metadata": "a.metadata",
    "custom_analysis_data": "a.custom_analysis_data",
    "transcript": "a.transcript",
}


async def story(own: OwnRows, call_id: str) -> CallStory | None:
    """The whole story of a call; None where the tenant has none with this id."""
    calls = await own.ask(
        f"SELECT {', '.join(CALL_ROW.values())} "  # noqa: S608 - own expressions
        f"FROM {source(Grain.CALL, 'a.')} WHERE c.call_id = ?",
        [call_id],
    )
    if not calls:
        return None
    attempts = await own.ask(
        f"SELECT {', '.join(_DETAILS.values())} FROM own_attempts a "  # noqa: S608 - likewise
        "WHERE a.call_id = ? ORDER BY a.number",
        [call_id],
    )
    activity = await own.ask(
        "SELECT occurred_at, type, attempt, data FROM own_activity WHERE call_id = ? "
        "ORDER BY sequence",
        [call_id],
    )
    call = dict(zip(CALL_ROW, calls[0], strict=True))
    timeline: list[dict[str, Any]] = [{"at": call["created_at"], "kind": "accepted"}]
    for at, kind, attempt, data in activity:
        entry = {"at": at, "kind": kind, "attempt": attempt, "reason": _reason(data)}
        timeline.append({name: value for name, value in entry.items() if value is not None})
    details = [dict(zip(_DETAILS, row, strict=True)) for row in attempts]
    for attempt in details:
        for name in ("metadata", "custom_analysis_data"):
            attempt[name] = _json(attempt[name])
    return CallStory(call, details, timeline)


def _reason(event: str | None) -> str | None:
    """Why it was told: `data.reason` of the CloudEvent."""
    match _json(event):
        case {"data": {"reason": str(reason)}}:
            return reason
        case _:
            return None


def _json(text: str | None) -> Any:  # noqa: ANN401 - JSON is any of its kinds
    return None if text is None else orjson.loads(text)


def _cursor(moment: int, identity: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([moment, identity])).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[int, str]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        match orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True)):
            case [int(moment), str(identity)] if abs(moment) < 2**62:
                return moment, identity
    except (binascii.Error, ValueError):
        pass
    raise BadCursorError(cursor)

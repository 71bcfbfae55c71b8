"""What a verdict tells, as rows: activity events in their call's order, and alarms."""

import uuid
from typing import Any

import orjson

from outdial.adapters.database.locked_rows import LockedAttempt, LockedCall
from outdial.core import activity
from outdial.core.call import ActivityType, Alarm

_ALARMS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:outdial:alarm")


def told_of_attempt(  # noqa: PLR0913 - each is a fact of the event
    attempt: LockedAttempt,
    kind: ActivityType,
    now: int,
    *,
    started_at: int | None,
    ended_at: int | None,
    reason: str | None,
    message: str | None,
) -> dict[str, Any]:
    """The row of the attempt's next event; the attempt notes that it was told."""
    call, at = attempt.call, now
    match kind:
        case ActivityType.INITIATED:
            attempt.set(told_initiated=True, initiated_at=at)
            call.set(told_initiated=True)
        case ActivityType.STARTED:
            at = started_at or at
            attempt.set(told_started=True, started_at=at)
        case ActivityType.COMPLETED | ActivityType.FAILED:
            at = ended_at or at
            attempt.set(told_end=True, ended_at=at)
        case ActivityType.NOT_PLACED:
            return told_of_call(call, kind, now, reason=reason, message=message)
    return _row(call, attempt, kind, now, at=at, reason=reason, message=message)


def told_of_call(
    call: LockedCall, kind: ActivityType, now: int, *, reason: str | None, message: str | None
) -> dict[str, Any]:
    """The row of the call's next event, where it is about no attempt."""
    return _row(call, None, kind, now, at=now, reason=reason, message=message)


def alarm_row(
    kind: Alarm, call_id: str, attempt_id: str, retell_call_id: str | None, now: int
) -> dict[str, Any]:
    """A row of `alarms`; its id is derived, so that hearing of it again is the same alarm."""
    about = f"{kind}/{attempt_id}/{retell_call_id}"
    return {
        "id": str(uuid.uuid5(_ALARMS, about)),
        "kind": kind.value,
        "call_id": call_id,
        "attempt_id": attempt_id,
        "retell_call_id": retell_call_id,
        "raised_at": now,
    }


def _row(  # noqa: PLR0913 - each is a fact of the event
    call: LockedCall,
    attempt: LockedAttempt | None,
    kind: ActivityType,
    now: int,
    *,
    at: int,
    reason: str | None,
    message: str | None,
) -> dict[str, Any]:
    sequence = call.state["sequence"] + 1
    call.set(sequence=sequence)
    if call.state["outbox_due_at"] is None:
        call.set(outbox_due_at=now)
    event_id = activity.event_id(attempt.id if attempt is not None else call.id, kind)
    facts = (
        activity.AttemptFacts(attempt.number, attempt.state["retell_call_id"])
        if attempt is not None
        else None
    )
    event = activity.build(
        kind,
        event_id=event_id,
        sequence=sequence,
        call=call.facts,
        attempt=facts,
        occurred_at_ms=at,
        details=attempt.details if attempt is not None else None,
        reason=reason,
        message=message,
    )
    return {
        "id": event_id,
        "call_id": call.id,
        "attempt_id": attempt.id if attempt is not None else None,
        "attempt": attempt.number if attempt is not None else None,
        "tenant": call.tenant,
        "type": kind.value,
        "sequence": sequence,
        "occurred_at": at,
        "recorded_at": now,
        "event": orjson.dumps(event).decode(),
        "tries": 0,
        "loaded": False,
    }

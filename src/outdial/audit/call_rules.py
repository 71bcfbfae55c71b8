"""Rules of one call, judged by what one snapshot of the ledger shows of it."""

from collections import Counter
from collections.abc import Iterator

import orjson

from outdial.audit.report import Violation
from outdial.core.activity import event_id
from outdial.core.call import (
    ATTEMPT_ENDS,
    CALL_ENDS,
    LIVE,
    NEVER_RANG,
    UNSETTLED,
    ActivityType,
    AttemptStatus,
    CallStatus,
)
from outdial.core.outcome import OVER_LIMIT
from outdial.ports.audit import AuditedActivity, AuditedAttempt, AuditedCall

_OPEN = UNSETTLED | LIVE
_ENDED = frozenset({AttemptStatus.COMPLETED, AttemptStatus.FAILED, AttemptStatus.LOST})
#: What a call's latest attempt may be; None: it has none.
_LATEST: dict[CallStatus, frozenset[AttemptStatus | None]] = {
    CallStatus.SCHEDULED: frozenset({None}),
    CallStatus.QUEUED: NEVER_RANG | {AttemptStatus.FAILED, None},
    CallStatus.DIALING: UNSETTLED,
    CallStatus.IN_PROGRESS: LIVE,
    CallStatus.COMPLETED: frozenset({AttemptStatus.COMPLETED, AttemptStatus.LOST}),
    CallStatus.FAILED: frozenset({AttemptStatus.FAILED, AttemptStatus.REFUSED, AttemptStatus.LOST}),
    CallStatus.CANCELLED: NEVER_RANG | {AttemptStatus.FAILED, None},
    CallStatus.EXPIRED: NEVER_RANG | {AttemptStatus.FAILED, None},
    CallStatus.REJECTED: NEVER_RANG | {AttemptStatus.FAILED, None},
}
#: The order of an attempt's events; either end is the last.
_PLACE = {
    ActivityType.INITIATED.value: 0,
    ActivityType.STARTED.value: 1,
    ActivityType.COMPLETED.value: 2,
    ActivityType.FAILED.value: 2,
}
_ENDS = frozenset(end.value for end in ATTEMPT_ENDS)


def check_call(call: AuditedCall) -> Iterator[Violation]:
    """Every rule that this call breaks."""
    yield from _states(call)
    yield from _dials(call)
    yield from _sequence(call)
    yield from _identities(call)
    yield from _repeats(call)
    for attempt in call.tries:
        yield from _told(call, attempt)
        if not attempt.analysis_kept:
            told = f"the event that attempt {attempt.id} has its analysis from is not there"
            yield Violation("inbox_missing", call.id, attempt.number, told)
    yield from _end(call)


def _states(call: AuditedCall) -> Iterator[Violation]:
    rule = "call_inconsistent"
    numbers = [attempt.number for attempt in call.tries]
    if numbers != list(range(1, call.attempts + 1)):
        told = f"{call.attempts} attempts counted, and these are there: {numbers}"
        yield Violation(rule, call.id, None, told)
    latest = call.tries[-1] if call.tries else None
    status = latest.status if latest is not None else None
    if status not in _LATEST[call.status]:
        number = latest.number if latest is not None else None
        told = f"the call is {call.status}, its latest attempt {status or 'is not there'}"
        yield Violation(rule, call.id, number, told)
    for attempt in call.tries[:-1]:
        if attempt.status in _OPEN:
            told = f"attempt {attempt.id} is {attempt.status}, and a later one was made"
            yield Violation(rule, call.id, attempt.number, told)


def _dials(call: AuditedCall) -> Iterator[Violation]:
    rang = [
        attempt
        for attempt in call.tries
        if attempt.retell_call_id is not None and attempt.disconnection_reason != OVER_LIMIT
    ]
    if len(rang) > 1:
        ids = ", ".join(f"{attempt.id} as {attempt.retell_call_id}" for attempt in rang)
        yield Violation("call_dialed_twice", call.id, rang[-1].number, f"attempts that rang: {ids}")
    for attempt in call.tries:
        if attempt.line_open and attempt.status not in _OPEN:
            told = f"attempt {attempt.id} is {attempt.status} and holds a line"
            yield Violation("line_leaked", call.id, attempt.number, told)


def _sequence(call: AuditedCall) -> Iterator[Violation]:
    rule = "activity_order"
    numbers = [event.sequence for event in call.activity]
    if numbers != list(range(1, call.sequence + 1)):
        told = f"{call.sequence} events counted, and these numbers are there: {numbers}"
        yield Violation(rule, call.id, None, told)
    reached: dict[str, int] = {}
    for event in call.activity:
        if event.attempt_id is None:
            continue
        place = _PLACE.get(event.type, 0)
        if place < reached.get(event.attempt_id, -1):
            told = f"event {event.id} ({event.type}) is told after a later one of its attempt"
            yield Violation(rule, call.id, event.attempt, told)
        reached[event.attempt_id] = max(place, reached.get(event.attempt_id, -1))
    for event in call.activity:
        if event.waits and call.outbox_due_at is None:
            told = f"event {event.id} ({event.type}) was not delivered, and is not due"
            yield Violation("activity_stranded", call.id, event.attempt, told)


def _identities(call: AuditedCall) -> Iterator[Violation]:
    numbers = {attempt.id: attempt.number for attempt in call.tries}
    for event in call.activity:
        wrong = _mistaken(call, event, numbers)
        if wrong is not None:
            told = f"event {event.id} ({event.type}) {wrong}"
            yield Violation("activity_identity", call.id, event.attempt, told)


def _mistaken(call: AuditedCall, event: AuditedActivity, numbers: dict[str, int]) -> str | None:
    if event.type not in {kind.value for kind in ActivityType}:
        return "is of no type there is"
    if (event.type == ActivityType.NOT_PLACED) is not (event.attempt_id is None):
        return f"is about attempt {event.attempt_id}"
    if event.attempt_id is not None and numbers.get(event.attempt_id) != event.attempt:
        return f"is about attempt {event.attempt_id}, which is not number {event.attempt}"
    if event.id != event_id(event.attempt_id or call.id, ActivityType(event.type)):
        return "has not the id derived from what it is about"
    try:
        told = orjson.loads(event.event)
        same = (told["id"], told["type"], told["subject"], told["data"]["sequence"]) == (
            event.id,
            event.type,
            call.id,
            event.sequence,
        )
    except (orjson.JSONDecodeError, KeyError, TypeError):
        same = False
    return None if same else "says other than its row"


def _repeats(call: AuditedCall) -> Iterator[Violation]:
    times = Counter((event.attempt_id, event.attempt, event.type) for event in call.activity)
    for (attempt_id, number, kind), count in times.items():
        if count > 1:
            about = f" of attempt {attempt_id}" if attempt_id is not None else ""
            told = f"{kind}{about} was told {count} times"
            yield Violation("activity_repeated", call.id, number, told)


def _told(call: AuditedCall, attempt: AuditedAttempt) -> Iterator[Violation]:
    told = [event.type for event in call.activity if event.attempt_id == attempt.id]
    ends = sum(kind in _ENDS for kind in told)
    wrong = None
    if ActivityType.INITIATED not in told:
        # One told as never placed and then found is an alarm of its own: it tells nothing.
        silent = attempt.status is AttemptStatus.LOST or any(
            event.type == ActivityType.NOT_PLACED for event in call.activity
        )
        if told:
            wrong = f"told {', '.join(told)}, and never as initiated"
        elif attempt.status in LIVE | _ENDED and not silent:
            wrong = "never told as initiated"
    elif attempt.status in _ENDED and ends != 1:
        wrong = f"told as initiated, with {ends} ends"
    elif attempt.status not in _ENDED and ends:
        wrong = "told as ended"
    elif attempt.status not in _ENDED | LIVE:
        wrong = "told as initiated"
    if wrong is not None:
        detail = f"attempt {attempt.id} is {attempt.status} and was {wrong}"
        yield Violation("attempt_end", call.id, attempt.number, detail)


def _end(call: AuditedCall) -> Iterator[Violation]:
    kinds = Counter(event.type for event in call.activity)
    initiated, not_placed = kinds[ActivityType.INITIATED], kinds[ActivityType.NOT_PLACED]
    wanted = 1 if call.status in CALL_ENDS and not initiated else 0
    if not_placed != wanted:
        detail = (
            f"the call is {call.status}, {initiated} attempts were told as initiated, "
            f"and `not_placed` {not_placed} times"
        )
        yield Violation("call_end", call.id, None, detail)

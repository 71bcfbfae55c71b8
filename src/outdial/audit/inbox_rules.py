"""Rules of one provider event: it is processed, and what it says has come to pass."""

from collections.abc import Iterator

from outdial.audit.report import Violation
from outdial.core.call import LIVE, UNSETTLED, AttemptStatus
from outdial.core.retell_events import CALL_ANALYZED, CALL_ENDED, CALL_STARTED
from outdial.ports.audit import AuditedAttempt, AuditedEvent

#: What an attempt can't be any more once the event was heard.
_PASSED = {
    CALL_STARTED: UNSETTLED | {AttemptStatus.INITIATED},
    CALL_ENDED: UNSETTLED,
    CALL_ANALYZED: UNSETTLED | LIVE,
}


def check_event(event: AuditedEvent, now: int, grace: int) -> Iterator[Violation]:
    """Every rule that this event breaks; `grace` in ms."""
    number = event.known.number if event.known is not None else None
    call_id = event.known_call_id or event.call_id
    about = f"event {event.id} ({event.event} of {event.retell_call_id})"
    if not event.intact:
        told = f"the body of {about} is not what its hash was made of"
        yield Violation("inbox_damaged", call_id, number, told)
    if event.differs:
        told = f"it has {', '.join(event.differs)} otherwise than {about}; replayed, it is mended"
        yield Violation("details_differ", call_id, number, told)
    if not event.processed:
        if event.received_at + grace < now:
            yield Violation("inbox_stuck", call_id, number, f"{about} was never processed")
        return
    attempt = event.known
    if attempt is None:
        if not event.foreign:
            told = f"{about} is about attempt {event.attempt_id}, which is not there"
            yield Violation("inbox_unapplied", call_id, None, told)
    elif attempt.retell_call_id not in {None, event.retell_call_id}:
        told = f"{about} is a second call of attempt {attempt.id}, {attempt.retell_call_id}"
        yield Violation("attempt_dialed_twice", call_id, number, told)
    else:
        fault = _fault(event, attempt)
        if fault is not None:
            yield Violation("inbox_unapplied", call_id, number, f"{about} {fault}")


def _fault(event: AuditedEvent, attempt: AuditedAttempt) -> str | None:
    if event.foreign:
        return f"was kept as foreign, and is that of attempt {attempt.id}"
    if attempt.status in _PASSED.get(event.event, frozenset()):
        return f"was heard, and attempt {attempt.id} is {attempt.status}"
    if event.event in {CALL_ENDED, CALL_ANALYZED} and attempt.line_open:
        return f"was heard, and attempt {attempt.id} holds its line"
    return None

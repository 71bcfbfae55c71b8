"""Why a call has not ended: the reason it may wait, or what should have happened long ago."""

from dataclasses import dataclass

from outdial.core.call import LIVE, UNSETTLED, AttemptStatus, CallStatus
from outdial.core.times import to_rfc3339
from outdial.ports.audit import AuditedAttempt, AuditedCall


@dataclass(frozen=True, slots=True)
class Times:
    """All in ms, as configured. `grace`: how late the stages may be before it is told."""

    republish: int
    reconcile: int
    analysis: int
    grace: int = 60_000


@dataclass(frozen=True, slots=True)
class Wait:
    """`reason` in a word; `overdue` says what has not happened, None while there is time.

    `ask`: only the provider knows whether there is a reason.
    """

    reason: str
    overdue: str | None = None
    ask: bool = False


def wait_of(call: AuditedCall, now: int, times: Times, *, ahead: bool) -> Wait:
    """Why a call that has not ended waits. `ahead`: others are before it."""
    late = now - times.grace
    if call.status in {CallStatus.SCHEDULED, CallStatus.QUEUED} and _over(call.expires_at, late):
        return Wait("expired", f"expired at {_at(call.expires_at)} and was not ended")
    match call.status:
        case CallStatus.SCHEDULED:
            due = _over(call.not_before, late)
            told = f"was to be queued at {_at(call.not_before)}" if due else None
            return Wait("scheduled", told)
        case CallStatus.QUEUED:
            return _queued(call, now, times, ahead=ahead)
        case CallStatus.DIALING:
            return _dialing(call, now, times)
        case _:
            return _in_progress(call, late, times)


def _queued(call: AuditedCall, now: int, times: Times, *, ahead: bool) -> Wait:
    if call.held is not None:
        return Wait(call.held)
    if call.due_at > now:
        return Wait("deferred")
    if call.published_at is not None:
        if call.published_at + times.republish + times.grace >= now:
            return Wait("published")
        told = f"published at {_at(call.published_at)}, claimed by nobody, not published again"
        return Wait("published", told)
    if ahead or call.due_at + times.grace >= now:
        return Wait("its turn")
    return Wait("its turn", f"due since {_at(call.due_at)}, none is ahead, and nobody published it")


def _dialing(call: AuditedCall, now: int, times: Times) -> Wait:
    last = _last(call)
    if last is None or last.status not in UNSETTLED:
        # `call_inconsistent` tells it.
        return Wait("dialing")
    reason = "leased" if last.status is AttemptStatus.CLAIMED else "look-up"
    until = last.lease_until or 0
    if until + times.grace >= now:
        return Wait(reason)
    if call.held is not None:
        return Wait(call.held)
    hint = call.published_at or 0
    if hint >= until and hint + times.republish + times.grace >= now:
        return Wait(reason)
    told = f"attempt {last.id} was to be taken over at {_at(until)}, and nobody did"
    return Wait(reason, told)


def _in_progress(call: AuditedCall, late: int, times: Times) -> Wait:
    last = _last(call)
    if last is None or last.status not in LIVE:
        return Wait("news")
    # Twice: the reconciler asks after that time, politely, and then its answer has to be heard.
    patience = 2 * times.reconcile + times.analysis
    return Wait("news", ask=last.heard_at + patience < late)


def _last(call: AuditedCall) -> AuditedAttempt | None:
    return call.tries[-1] if call.tries else None


def _over(moment: int | None, late: int) -> bool:
    return moment is not None and moment < late


def _at(moment: int | None) -> str:
    return to_rfc3339(moment or 0)

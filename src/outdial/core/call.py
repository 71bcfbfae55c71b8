"""The life of a call and of its attempts: every transition, as pure and total functions.

A *call* is what was asked for; an *attempt* is one submission of it to Retell. `decide_attempt`
answers for every attempt status and every event, `decide_call` for every call status and every
request. Whoever calls them holds the call's row locked, applies the verdict and writes the
activity events that `tell` names in the same commit.

Retell's events commute: whatever their order and repetition, the end state and the activity
events are the same. One exception is deliberate: a `call_started` after a `failed` end is kept
in the inbox and tells nothing. Analyses of one attempt are taken to agree on whether it
connected; where they do not, the first one processed decides the kind of end told.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from enum import StrEnum

from outdial.core.submission import (
    Placed,
    Refused,
    Submission,
    Suspended,
    Throttled,
    Unanswered,
)


class CallStatus(StrEnum):
    """Where a call stands. The last five are ends."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    DIALING = "dialing"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"


CALL_ENDS = frozenset(
    {
        CallStatus.COMPLETED,
        CallStatus.FAILED,
        CallStatus.CANCELLED,
        CallStatus.EXPIRED,
        CallStatus.REJECTED,
    }
)


class AttemptStatus(StrEnum):
    """Where one submission stands."""

    CLAIMED = "claimed"
    UNKNOWN = "unknown"
    INITIATED = "initiated"
    STARTED = "started"
    DEFERRED = "deferred"
    REFUSED = "refused"
    COMPLETED = "completed"
    FAILED = "failed"
    LOST = "lost"


#: Attempts whose submission has not been answered yet.
UNSETTLED = frozenset({AttemptStatus.CLAIMED, AttemptStatus.UNKNOWN})
#: Attempts that Retell has taken and not ended.
LIVE = frozenset({AttemptStatus.INITIATED, AttemptStatus.STARTED})
#: Attempts that were proven never to have rung.
NEVER_RANG = frozenset({AttemptStatus.DEFERRED, AttemptStatus.REFUSED})


class ActivityType(StrEnum):
    """The activity (ABT) events; the values are the CloudEvents `type`."""

    INITIATED = "voice_call.initiated"
    STARTED = "voice_call.started"
    COMPLETED = "voice_call.completed"
    FAILED = "voice_call.failed"
    NOT_PLACED = "voice_call.not_placed"


#: Why a call ended that Retell took and no longer knows.
NOT_FOUND = "not_found"
#: The two ends of an attempt; every attempt told as initiated gets exactly one.
ATTEMPT_ENDS = frozenset({ActivityType.COMPLETED, ActivityType.FAILED})


class Alarm(StrEnum):
    """What must never happen; each is recorded, shown and fails the audit."""

    DUPLICATE_DIAL = "duplicate_dial"
    RANG_AFTER_PROOF = "rang_after_proof"
    FOUND_AFTER_LOST = "found_after_lost"
    UNKNOWN_CALL = "unknown_call"
    SHARED_CALL_ID = "shared_call_id"


@dataclass(frozen=True, slots=True)
class HeardStarted:
    """Retell's `call_started`: somebody or something answered."""


@dataclass(frozen=True, slots=True)
class HeardEnded:
    """Retell's `call_ended`: the line is free again; the result comes with the analysis."""


@dataclass(frozen=True, slots=True)
class HeardAnalyzed:
    """Retell's `call_analyzed`, the word that ends an attempt.

    `connected` is what the payload itself says; `call_started` told before counts as well.
    `over_limit`: ended with `concurrency_limit_reached`, so nothing rang.
    """

    connected: bool
    over_limit: bool = False


@dataclass(frozen=True, slots=True)
class SecondCall:
    """Retell has another call for this attempt than the one the ledger knows."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """An unknown submission that two look-ups did not find after the window closed."""


@dataclass(frozen=True, slots=True)
class Vanished:
    """Retell took the call and knows nothing of it any more."""


Heard = HeardStarted | HeardEnded | HeardAnalyzed
AttemptEvent = Submission | Heard | SecondCall | GivenUp | Vanished


@dataclass(frozen=True, slots=True)
class AttemptView:
    """What a decision about an attempt depends on.

    `told_…`: which activity events of the attempt exist already; `told_end` is either end.
    `doubted`: an earlier submission of this attempt was never answered, so a 4xx proves nothing.
    `current`: it is its call's latest attempt, so its fate is the call's.
    `call_told`: some attempt of the call was told as initiated, so `not_placed` is never told.
    """

    status: AttemptStatus
    told_initiated: bool = False
    told_started: bool = False
    told_end: bool = False
    doubted: bool = False
    current: bool = True
    call_told: bool = False


@dataclass(frozen=True, slots=True)
class AttemptVerdict:
    """What follows from an event: new statuses, what to tell (in this order), what to raise.

    `call` is None where the call's status stays. `reason` goes with `not_placed`, and with the end
    of an attempt that vanished.
    """

    status: AttemptStatus
    call: CallStatus | None = None
    tell: tuple[ActivityType, ...] = ()
    reason: str | None = None
    alarm: Alarm | None = None


def decide_attempt(view: AttemptView, event: AttemptEvent) -> AttemptVerdict:
    """Answer any event in any status. Never raises."""
    verdict = _decide(view, event)
    if view.told_end:
        verdict = replace(verdict, tell=_without(verdict.tell, ATTEMPT_ENDS))
    if not view.current:
        # The call has gone on to another attempt: this one's word no longer moves or ends it.
        tell = _without(verdict.tell, {ActivityType.NOT_PLACED})
        verdict = replace(verdict, call=None, tell=tell, reason=None)
    return verdict


def _without(
    tell: tuple[ActivityType, ...], kept_back: AbstractSet[ActivityType]
) -> tuple[ActivityType, ...]:
    return tuple(activity for activity in tell if activity not in kept_back)


def _decide(view: AttemptView, event: AttemptEvent) -> AttemptVerdict:
    match event:
        case Placed() | Throttled() | Refused() | Suspended() | Unanswered():
            return _on_submission(view, event)
        case HeardStarted() | HeardEnded() | HeardAnalyzed():
            return _on_heard(view, event)
        case GivenUp():
            return _on_given_up(view)
        case Vanished():
            return _on_vanished(view)
        case SecondCall():  # pragma: no branch - mypy proves it the last
            return AttemptVerdict(view.status, alarm=Alarm.DUPLICATE_DIAL)


def _on_submission(view: AttemptView, answer: Submission) -> AttemptVerdict:
    if view.status not in UNSETTLED:
        # A webhook was faster than the answer, or the answer of a worker long given up.
        return _contradiction(view) if isinstance(answer, Placed) else AttemptVerdict(view.status)
    match answer:
        case Placed():
            return _adopted(view)
        case Unanswered():
            return AttemptVerdict(AttemptStatus.UNKNOWN, CallStatus.DIALING)
        case _ if view.doubted:
            return AttemptVerdict(AttemptStatus.UNKNOWN, CallStatus.DIALING)
        case Refused():
            return AttemptVerdict(
                AttemptStatus.REFUSED, CallStatus.FAILED, *_not_placed(view.call_told, "refused")
            )
        case Throttled() | Suspended():  # pragma: no branch - mypy proves it the last
            return AttemptVerdict(AttemptStatus.DEFERRED, CallStatus.QUEUED)


def _on_heard(view: AttemptView, heard: Heard) -> AttemptVerdict:
    if view.status in NEVER_RANG:
        return _contradiction(view)
    if view.status is AttemptStatus.LOST:
        return _correction(view, heard)
    if view.status not in UNSETTLED | LIVE:
        return AttemptVerdict(view.status)
    base = _adopted(view) if view.status in UNSETTLED else AttemptVerdict(view.status)
    match heard:
        case HeardStarted():
            started = _tell_unless(view.told_started, ActivityType.STARTED)
            return AttemptVerdict(AttemptStatus.STARTED, base.call, base.tell + started)
        case HeardEnded():
            return base
        case HeardAnalyzed(connected=connected) if connected or view.told_started:
            started = _tell_unless(view.told_started, ActivityType.STARTED)
            return AttemptVerdict(
                AttemptStatus.COMPLETED,
                CallStatus.COMPLETED,
                (*base.tell, *started, ActivityType.COMPLETED),
            )
        case HeardAnalyzed(over_limit=over_limit):  # pragma: no branch - mypy proves it the last
            # Over the limit nothing rang: the attempt is over, the call is still owed.
            call = CallStatus.QUEUED if over_limit else CallStatus.FAILED
            return AttemptVerdict(AttemptStatus.FAILED, call, (*base.tell, ActivityType.FAILED))


def _correction(view: AttemptView, heard: Heard) -> AttemptVerdict:
    """Retell's word on an attempt that was concluded without it: amend, tell nothing twice."""
    alarm = _contradiction(view).alarm
    match heard:
        case HeardAnalyzed(connected=connected) if connected or view.told_started:
            return AttemptVerdict(AttemptStatus.COMPLETED, CallStatus.COMPLETED, alarm=alarm)
        case HeardAnalyzed():
            return AttemptVerdict(AttemptStatus.FAILED, CallStatus.FAILED, alarm=alarm)
        case HeardStarted() | HeardEnded():  # pragma: no branch - mypy proves it the last
            return AttemptVerdict(AttemptStatus.LOST, alarm=alarm)


def _on_given_up(view: AttemptView) -> AttemptVerdict:
    if view.status is not AttemptStatus.UNKNOWN:
        return AttemptVerdict(view.status)
    return AttemptVerdict(
        AttemptStatus.LOST, CallStatus.FAILED, *_not_placed(view.call_told, "submission_lost")
    )


def _on_vanished(view: AttemptView) -> AttemptVerdict:
    match view.status:
        case AttemptStatus.INITIATED:
            return AttemptVerdict(
                AttemptStatus.LOST, CallStatus.FAILED, (ActivityType.FAILED,), NOT_FOUND
            )
        case AttemptStatus.STARTED:
            # It connected, so its one end is `completed`, however little is known of it.
            return AttemptVerdict(
                AttemptStatus.LOST, CallStatus.COMPLETED, (ActivityType.COMPLETED,), NOT_FOUND
            )
        case _:
            return AttemptVerdict(view.status)


def _adopted(view: AttemptView) -> AttemptVerdict:
    tell = _tell_unless(view.told_initiated, ActivityType.INITIATED)
    return AttemptVerdict(AttemptStatus.INITIATED, CallStatus.IN_PROGRESS, tell)


def _contradiction(view: AttemptView) -> AttemptVerdict:
    alarm = None
    if view.status in NEVER_RANG:
        alarm = Alarm.RANG_AFTER_PROOF
    elif view.status is AttemptStatus.LOST and not view.told_initiated:
        # It was told as never placed. One told as initiated was known to be at Retell.
        alarm = Alarm.FOUND_AFTER_LOST
    return AttemptVerdict(view.status, alarm=alarm)


def _tell_unless(told: bool, activity: ActivityType) -> tuple[ActivityType, ...]:  # noqa: FBT001
    return () if told else (activity,)


def _not_placed(call_told: bool, reason: str) -> tuple[tuple[ActivityType, ...], str]:  # noqa: FBT001
    return _tell_unless(call_told, ActivityType.NOT_PLACED), reason


class Request(StrEnum):
    """What can be asked of a call while no attempt is under way."""

    DUE = "due"
    CLAIM = "claim"
    CANCEL = "cancel"
    EXPIRE = "expire"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class CallVerdict:
    """`granted` is False where the call's status does not allow the request.

    A request that ended the call before is granted again and changes nothing.
    """

    status: CallStatus
    granted: bool
    tell: tuple[ActivityType, ...] = ()
    reason: str | None = None


_WAITING = frozenset({CallStatus.SCHEDULED, CallStatus.QUEUED})
_FROM: dict[Request, frozenset[CallStatus]] = {
    Request.DUE: frozenset({CallStatus.SCHEDULED}),
    Request.CLAIM: frozenset({CallStatus.QUEUED}),
    Request.CANCEL: _WAITING,
    Request.EXPIRE: _WAITING,
    Request.REJECT: frozenset({CallStatus.QUEUED}),
}
_TO: dict[Request, CallStatus] = {
    Request.DUE: CallStatus.QUEUED,
    Request.CLAIM: CallStatus.DIALING,
    Request.CANCEL: CallStatus.CANCELLED,
    Request.EXPIRE: CallStatus.EXPIRED,
    Request.REJECT: CallStatus.REJECTED,
}


def decide_call(status: CallStatus, request: Request, *, call_told: bool) -> CallVerdict:
    """Answer any request in any status. Never raises.

    `call_told`: some attempt of the call was told as initiated; its end was told then, and
    `not_placed` is not.
    """
    target = _TO[request]
    if status in _FROM[request]:
        if target in CALL_ENDS:
            return CallVerdict(target, True, *_not_placed(call_told, target.value))
        return CallVerdict(target, granted=True)
    repeated = status is target and target in CALL_ENDS
    return CallVerdict(status, granted=repeated)

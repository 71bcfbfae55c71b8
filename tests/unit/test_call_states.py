"""Every transition of calls and attempts, spelled out; the design's tables are its source.

In the attempt table `=` means: nothing changes, nothing is told. Otherwise a cell names the new
attempt status, the new call status (`-`: stays), what is told in order, and `!alarm`.
"""

from dataclasses import replace

import pytest

from outdial.core.call import (
    ATTEMPT_ENDS,
    CALL_ENDS,
    ActivityType,
    Alarm,
    AttemptEvent,
    AttemptStatus,
    AttemptVerdict,
    AttemptView,
    CallStatus,
    CallVerdict,
    GivenUp,
    HeardAnalyzed,
    HeardEnded,
    HeardStarted,
    Request,
    SecondCall,
    Vanished,
    decide_attempt,
    decide_call,
)
from outdial.core.submission import Placed, Refused, Suspended, Throttled, Unanswered

EVENTS: dict[str, AttemptEvent] = {
    "placed": Placed("call_1"),
    "throttled": Throttled("slow down"),
    "refused": Refused(422, "no such agent"),
    "suspended": Suspended(402, "no credit"),
    "unanswered": Unanswered("reset"),
    "call_started": HeardStarted(),
    "call_ended": HeardEnded(),
    "analyzed_connected": HeardAnalyzed(connected=True),
    "analyzed_unconnected": HeardAnalyzed(connected=False),
    "analyzed_over_limit": HeardAnalyzed(connected=False, over_limit=True),
    "second_call": SecondCall(),
    "given_up": GivenUp(),
    "vanished": Vanished(),
}

_TOLD = {"told_initiated": True, "call_told": True}
VIEWS: dict[str, AttemptView] = {
    "claimed": AttemptView(AttemptStatus.CLAIMED),
    "claimed_doubted": AttemptView(AttemptStatus.CLAIMED, doubted=True),
    "unknown": AttemptView(AttemptStatus.UNKNOWN),
    "unknown_doubted": AttemptView(AttemptStatus.UNKNOWN, doubted=True),
    "initiated": AttemptView(AttemptStatus.INITIATED, **_TOLD),
    "started": AttemptView(AttemptStatus.STARTED, told_started=True, **_TOLD),
    "deferred": AttemptView(AttemptStatus.DEFERRED),
    "refused": AttemptView(AttemptStatus.REFUSED),
    "completed": AttemptView(AttemptStatus.COMPLETED, told_started=True, told_end=True, **_TOLD),
    "failed": AttemptView(AttemptStatus.FAILED, told_end=True, **_TOLD),
    "lost_unplaced": AttemptView(AttemptStatus.LOST),
    "lost_initiated": AttemptView(AttemptStatus.LOST, told_end=True, **_TOLD),
    "lost_started": AttemptView(AttemptStatus.LOST, told_started=True, told_end=True, **_TOLD),
}

_UNSETTLED_HEARD = """
    placed:               initiated in_progress initiated
    unanswered:           unknown dialing
    call_started:         started in_progress initiated started
    call_ended:           initiated in_progress initiated
    analyzed_connected:   completed completed initiated started completed
    analyzed_unconnected: failed failed initiated failed
    analyzed_over_limit:  failed queued initiated failed
    second_call:          = !duplicate_dial
    vanished:             =
"""
_PROOF = """
    throttled:            deferred queued
    refused:              refused failed not_placed
    suspended:            deferred queued
"""
_NO_PROOF = """
    throttled:            unknown dialing
    refused:              unknown dialing
    suspended:            unknown dialing
"""
_ANSWERS_TOO_LATE = """
    throttled:            =
    refused:              =
    suspended:            =
    unanswered:           =
    second_call:          = !duplicate_dial
    given_up:             =
"""
_NEVER_RANG = (
    _ANSWERS_TOO_LATE
    + """
    placed:               = !rang_after_proof
    call_started:         = !rang_after_proof
    call_ended:           = !rang_after_proof
    analyzed_connected:   = !rang_after_proof
    analyzed_unconnected: = !rang_after_proof
    analyzed_over_limit:  = !rang_after_proof
    vanished:             =
"""
)
_ENDED = (
    _ANSWERS_TOO_LATE
    + """
    placed:               =
    call_started:         =
    call_ended:           =
    analyzed_connected:   =
    analyzed_unconnected: =
    analyzed_over_limit:  =
    vanished:             =
"""
)

TABLE = {
    "claimed": _UNSETTLED_HEARD + _PROOF + "given_up: =",
    "claimed_doubted": _UNSETTLED_HEARD + _NO_PROOF + "given_up: =",
    "unknown": _UNSETTLED_HEARD + _PROOF + "given_up: lost failed not_placed",
    "unknown_doubted": _UNSETTLED_HEARD + _NO_PROOF + "given_up: lost failed not_placed",
    "initiated": _ANSWERS_TOO_LATE
    + """
    placed:               =
    call_started:         started - started
    call_ended:           =
    analyzed_connected:   completed completed started completed
    analyzed_unconnected: failed failed failed
    analyzed_over_limit:  failed queued failed
    vanished:             lost failed failed
    """,
    "started": _ANSWERS_TOO_LATE
    + """
    placed:               =
    call_started:         =
    call_ended:           =
    analyzed_connected:   completed completed completed
    analyzed_unconnected: completed completed completed
    analyzed_over_limit:  completed completed completed
    vanished:             lost completed completed
    """,
    "deferred": _NEVER_RANG,
    "refused": _NEVER_RANG,
    "completed": _ENDED,
    "failed": _ENDED,
    "lost_unplaced": _ANSWERS_TOO_LATE
    + """
    placed:               = !found_after_lost
    call_started:         = !found_after_lost
    call_ended:           = !found_after_lost
    analyzed_connected:   completed completed !found_after_lost
    analyzed_unconnected: failed failed !found_after_lost
    analyzed_over_limit:  failed failed !found_after_lost
    vanished:             =
    """,
    "lost_initiated": _ANSWERS_TOO_LATE
    + """
    placed:               =
    call_started:         =
    call_ended:           =
    analyzed_connected:   completed completed
    analyzed_unconnected: failed failed
    analyzed_over_limit:  failed failed
    vanished:             =
    """,
    "lost_started": _ANSWERS_TOO_LATE
    + """
    placed:               =
    call_started:         =
    call_ended:           =
    analyzed_connected:   completed completed
    analyzed_unconnected: completed completed
    analyzed_over_limit:  completed completed
    vanished:             =
    """,
}


def cells() -> list[tuple[str, str, str]]:
    """The table as (view, event, cell)."""
    return [
        (name, event.strip(), cell.strip())
        for name, rows in TABLE.items()
        for event, _, cell in (line.partition(":") for line in rows.splitlines() if line.strip())
    ]


def verdict_of(cell: str, status: AttemptStatus) -> AttemptVerdict:
    """Read a cell; an end without Retell's word says why, by the attempt's end."""
    words = cell.split()
    alarm = Alarm(words.pop()[1:]) if words[-1].startswith("!") else None
    if words == ["="]:
        return AttemptVerdict(status, alarm=alarm)
    call = None if words[1] == "-" else CallStatus(words[1])
    tell = tuple(ActivityType(f"voice_call.{word}") for word in words[2:])
    reasons = {AttemptStatus.REFUSED: "refused", AttemptStatus.LOST: "submission_lost"}
    reached = AttemptStatus(words[0])
    reason = None
    if ActivityType.NOT_PLACED in tell:
        reason = reasons[reached]
    elif reached is AttemptStatus.LOST and tell:
        reason = "not_found"
    return AttemptVerdict(reached, call, tell, reason, alarm)


def test_the_table_is_whole() -> None:
    """Each view has each event exactly once, and each status a view."""
    assert sorted((view, event) for view, event, _ in cells()) == sorted(
        (view, event) for view in VIEWS for event in EVENTS
    )
    assert {view.status for view in VIEWS.values()} == set(AttemptStatus)


@pytest.mark.parametrize(("view", "event", "cell"), cells())
def test_an_attempt(view: str, event: str, cell: str) -> None:
    """An event in a status comes to what the table says."""
    seen = VIEWS[view]
    assert decide_attempt(seen, EVENTS[event]) == verdict_of(cell, seen.status)


@pytest.mark.parametrize(("view", "event", "cell"), cells())
def test_an_attempt_that_is_not_the_latest(view: str, event: str, cell: str) -> None:
    """An attempt whose call has gone on tells its own story, and no more moves the call."""
    seen = replace(VIEWS[view], current=False)
    expected = verdict_of(cell, seen.status)
    tell = tuple(told for told in expected.tell if told is not ActivityType.NOT_PLACED)
    assert decide_attempt(seen, EVENTS[event]) == replace(
        expected, call=None, tell=tell, reason=None
    )


@pytest.mark.parametrize(("view", "event", "cell"), cells())
def test_a_call_that_was_told_as_initiated(view: str, event: str, cell: str) -> None:
    """Once an attempt of the call was told as initiated, `not_placed` is told no more."""
    verdict = decide_attempt(replace(VIEWS[view], call_told=True), EVENTS[event])
    assert ActivityType.NOT_PLACED not in verdict.tell
    assert verdict.status == verdict_of(cell, VIEWS[view].status).status


@pytest.mark.parametrize(("view", "event", "cell"), cells())
def test_no_second_end(view: str, event: str, cell: str) -> None:
    """Where an end was told, none is told again, whatever the rest of the view says."""
    verdict = decide_attempt(replace(VIEWS[view], told_end=True), EVENTS[event])
    assert not ATTEMPT_ENDS & set(verdict.tell)
    assert verdict.status == verdict_of(cell, VIEWS[view].status).status


#: From each call status, the requests it grants and where they lead; none is granted else.
CALLS: dict[CallStatus, dict[Request, CallStatus]] = {
    CallStatus.SCHEDULED: {
        Request.DUE: CallStatus.QUEUED,
        Request.CANCEL: CallStatus.CANCELLED,
        Request.EXPIRE: CallStatus.EXPIRED,
    },
    CallStatus.QUEUED: {
        Request.CLAIM: CallStatus.DIALING,
        Request.CANCEL: CallStatus.CANCELLED,
        Request.EXPIRE: CallStatus.EXPIRED,
        Request.REJECT: CallStatus.REJECTED,
    },
    CallStatus.DIALING: {},
    CallStatus.IN_PROGRESS: {},
    CallStatus.COMPLETED: {},
    CallStatus.FAILED: {},
    CallStatus.CANCELLED: {Request.CANCEL: CallStatus.CANCELLED},
    CallStatus.EXPIRED: {Request.EXPIRE: CallStatus.EXPIRED},
    CallStatus.REJECTED: {Request.REJECT: CallStatus.REJECTED},
}


@pytest.mark.parametrize("call_told", [False, True])
@pytest.mark.parametrize("request_", Request)
@pytest.mark.parametrize("status", CallStatus)
def test_a_call(status: CallStatus, request_: Request, *, call_told: bool) -> None:
    """A request to a call comes to what the table says; an end reached anew is told once."""
    verdict = decide_call(status, request_, call_told=call_told)
    if request_ not in CALLS[status]:
        assert verdict == CallVerdict(status, granted=False)
        return
    target = CALLS[status][request_]
    anew = target in CALL_ENDS and status is not target
    assert verdict == CallVerdict(
        target,
        granted=True,
        tell=(ActivityType.NOT_PLACED,) if anew and not call_told else (),
        reason=target.value if anew else None,
    )

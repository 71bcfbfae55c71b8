"""What holds of calls and attempts whatever happens to them, in whatever order."""

from dataclasses import dataclass, field
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from outdial.core.call import (
    ATTEMPT_ENDS,
    CALL_ENDS,
    ActivityType,
    AttemptEvent,
    AttemptStatus,
    AttemptVerdict,
    AttemptView,
    CallStatus,
    GivenUp,
    Heard,
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

#: Where an attempt may go (the design's table). Through `initiated` it may pass in one commit.
_ATTEMPT_STEPS: dict[str, set[str]] = {
    "claimed": {"initiated", "deferred", "refused", "unknown"},
    "unknown": {"initiated", "deferred", "refused", "lost"},
    "initiated": {"started", "completed", "failed", "lost"},
    "started": {"completed", "lost"},
    "deferred": set(),
    "refused": set(),
    "completed": set(),
    "failed": set(),
    "lost": {"completed", "failed"},
}
#: Where a call may go; `failed` to `completed` is Retell's later word on a lost attempt.
_CALL_STEPS: dict[str, set[str]] = {
    "scheduled": {"queued", "cancelled", "expired"},
    "queued": {"dialing", "cancelled", "expired", "rejected"},
    "dialing": {"in_progress", "queued", "failed"},
    "in_progress": {"completed", "failed", "queued"},
    "completed": set(),
    "failed": {"completed"},
    "cancelled": set(),
    "expired": set(),
    "rejected": set(),
}


def may_step(steps: dict[str, set[str]], before: str, after: str, through: str) -> bool:
    """Whether one commit may lead from `before` to `after`."""
    passing = steps[through] if through in steps[before] else set()
    return after == before or after in steps[before] | passing


@dataclass
class Attempt:
    """One attempt of the model, and all that was told of it."""

    status: AttemptStatus = AttemptStatus.CLAIMED
    told: list[ActivityType] = field(default_factory=list)
    doubted: bool = False


@dataclass
class Call:
    """A call as the ledger keeps it: it applies verdicts and adds nothing of its own."""

    status: CallStatus = CallStatus.QUEUED
    attempts: list[Attempt] = field(default_factory=list)
    not_placed: list[str | None] = field(default_factory=list)

    @property
    def told(self) -> bool:
        """Whether an attempt was told as initiated."""
        return any(ActivityType.INITIATED in attempt.told for attempt in self.attempts)

    def ask(self, request: Request) -> bool:
        """Apply a request; a granted claim makes an attempt."""
        verdict = decide_call(self.status, request, call_told=self.told)
        self._tell(None, verdict.tell, verdict.reason)
        self.status = verdict.status
        if verdict.granted and request is Request.CLAIM:
            self.attempts.append(Attempt())
        return verdict.granted

    def happen(self, attempt: Attempt, event: AttemptEvent) -> AttemptVerdict:
        """Apply an event to an attempt."""
        view = AttemptView(
            attempt.status,
            told_initiated=ActivityType.INITIATED in attempt.told,
            told_started=ActivityType.STARTED in attempt.told,
            told_end=bool(ATTEMPT_ENDS & set(attempt.told)),
            doubted=attempt.doubted,
            current=attempt is self.attempts[-1],
            call_told=self.told,
        )
        verdict = decide_attempt(view, event)
        self._tell(attempt, verdict.tell, verdict.reason)
        attempt.status = verdict.status
        attempt.doubted |= isinstance(event, Unanswered)
        self.status = verdict.call or self.status
        return verdict

    def _tell(
        self, attempt: Attempt | None, tell: tuple[ActivityType, ...], reason: str | None
    ) -> None:
        for activity in tell:
            if activity is ActivityType.NOT_PLACED:
                self.not_placed.append(reason)
            else:
                assert attempt is not None
                attempt.told.append(activity)


def dialing() -> tuple[Call, Attempt]:
    """A call with one attempt, just claimed."""
    call = Call()
    assert call.ask(Request.CLAIM)
    return call, call.attempts[-1]


CONNECTED: list[Heard] = [HeardStarted(), HeardEnded(), HeardAnalyzed(connected=True)]
UNCONNECTED: list[Heard] = [HeardEnded(), HeardAnalyzed(connected=False)]
OVER_LIMIT: list[Heard] = [HeardEnded(), HeardAnalyzed(connected=False, over_limit=True)]

STORIES = {
    "connected": (
        CONNECTED,
        (AttemptStatus.COMPLETED, CallStatus.COMPLETED),
        [ActivityType.INITIATED, ActivityType.STARTED, ActivityType.COMPLETED],
    ),
    "unconnected": (
        UNCONNECTED,
        (AttemptStatus.FAILED, CallStatus.FAILED),
        [ActivityType.INITIATED, ActivityType.FAILED],
    ),
    "over the limit": (
        OVER_LIMIT,
        (AttemptStatus.FAILED, CallStatus.QUEUED),
        [ActivityType.INITIATED, ActivityType.FAILED],
    ),
}

#: What our own side may hear of a call that Retell has: its 201, silence, and refusals that
#: prove nothing because an earlier submission went unanswered.
_OURS: list[AttemptEvent] = [
    Placed("call_1"),
    Unanswered("reset"),
    Refused(422, ""),
    Throttled(""),
    Suspended(402, ""),
]


def is_possible(attempt: Attempt, event: AttemptEvent) -> bool:
    """A 4xx is no answer to a call that Retell has, unless it was in doubt."""
    return attempt.doubted or not isinstance(event, Refused | Throttled | Suspended)


@pytest.mark.parametrize("story", STORIES)
@given(data=st.data())
def test_retells_events_commute(story: str, data: st.DataObject) -> None:
    """In any order, repeated at will, with our own side's in between: one end, one telling."""
    heard, end, telling = STORIES[story]
    repeated = data.draw(st.lists(st.sampled_from(heard)))
    ours = data.draw(st.lists(st.sampled_from(_OURS), max_size=5))
    events: list[AttemptEvent] = [*heard, *repeated, *ours]
    call, attempt = dialing()
    for event in data.draw(st.permutations(events)):
        if is_possible(attempt, event):
            call.happen(attempt, event)
    assert (attempt.status, call.status) == end
    assert attempt.told == telling
    assert call.not_placed == []


@pytest.mark.parametrize("story", STORIES)
def test_every_order_without_repetition(story: str) -> None:
    """The same, for every single order of the events and the 201."""
    heard, end, telling = STORIES[story]
    for order in permutations([*heard, Placed("call_1")]):
        call, attempt = dialing()
        for event in order:
            call.happen(attempt, event)
        assert (attempt.status, call.status, attempt.told) == (*end, telling)


@given(st.permutations([*UNCONNECTED, HeardStarted(), Placed("call_1")]))
def test_the_exception_to_commuting(order: list[AttemptEvent]) -> None:
    """A `call_started` before an unconnected end makes it connected; after it, it tells nothing."""
    call, attempt = dialing()
    for event in order:
        call.happen(attempt, event)
    started_first = order.index(HeardStarted()) < order.index(HeardAnalyzed(connected=False))
    assert attempt.status is (AttemptStatus.COMPLETED if started_first else AttemptStatus.FAILED)
    assert len(ATTEMPT_ENDS & set(attempt.told)) == 1
    assert (ActivityType.STARTED in attempt.told) is started_first


@given(
    story=st.sampled_from(sorted(STORIES)),
    data=st.data(),
)
def test_omission_changes_which_end_never_how_many(story: str, data: st.DataObject) -> None:
    """Whatever of Retell's events is lost, giving up on the rest leaves exactly one end."""
    heard, _, _ = STORIES[story]
    kept = data.draw(st.lists(st.sampled_from(heard), unique=True))
    events: list[AttemptEvent] = [Placed("call_1"), *kept]
    call, attempt = dialing()
    for event in data.draw(st.permutations(events)):
        call.happen(attempt, event)
    call.happen(attempt, Vanished())
    assert attempt.told.count(ActivityType.INITIATED) == 1
    assert sum(told in ATTEMPT_ENDS for told in attempt.told) == 1
    before = list(attempt.told)
    for late in data.draw(st.permutations(heard)):
        call.happen(attempt, late)
    assert attempt.told == before


EVENTS: st.SearchStrategy[AttemptEvent] = st.sampled_from(
    [
        *_OURS,
        *CONNECTED,
        *UNCONNECTED,
        *OVER_LIMIT,
        SecondCall(),
        GivenUp(),
        Vanished(),
    ]
)


class AnyLife(RuleBasedStateMachine):
    """A call to which anything happens, likely or not: cancels, retries, contradictions."""

    def __init__(self) -> None:
        """A call with `not_before`."""
        super().__init__()
        self.call = Call(CallStatus.SCHEDULED)

    @rule(request=st.sampled_from(Request))
    def ask(self, request: Request) -> None:
        """Ask something of the call."""
        before = self.call.status
        granted = self.call.ask(request)
        assert may_step(_CALL_STEPS, before, self.call.status, before)
        assert granted or self.call.status is before

    @precondition(lambda self: self.call.attempts)
    @rule(data=st.data(), event=EVENTS)
    def happen(self, data: st.DataObject, event: AttemptEvent) -> None:
        """Something is heard of one of its attempts, the latest or an older one."""
        attempt = data.draw(st.sampled_from(self.call.attempts))
        was, call_was = attempt.status, self.call.status
        self.call.happen(attempt, event)
        assert may_step(_ATTEMPT_STEPS, was, attempt.status, "initiated")
        assert may_step(_CALL_STEPS, call_was, self.call.status, "in_progress")

    @invariant()
    def each_attempt_is_told_once_and_in_order(self) -> None:
        """Initiated, started, one end: each at most once, in this order, none without the first."""
        order = [ActivityType.INITIATED, ActivityType.STARTED, None]
        for attempt in self.call.attempts:
            places = [order.index(None if told in ATTEMPT_ENDS else told) for told in attempt.told]
            assert all(one < next_ for one, next_ in pairwise(places))
            assert not places or places[0] == 0

    @invariant()
    def each_initiated_attempt_that_ended_was_told_so(self) -> None:
        """An attempt told as initiated has its one end told exactly when it is over."""
        over = {AttemptStatus.COMPLETED, AttemptStatus.FAILED, AttemptStatus.LOST}
        for attempt in self.call.attempts:
            if ActivityType.INITIATED in attempt.told:
                ended = bool(ATTEMPT_ENDS & set(attempt.told))
                assert ended == (attempt.status in over)

    @invariant()
    def not_placed_is_for_calls_never_told(self) -> None:
        """`not_placed` is told once, of a call that ended with nothing else told, and says why."""
        ended_untold = self.call.status in CALL_ENDS and not self.call.told
        assert len(self.call.not_placed) == int(ended_untold)
        reasons = {"cancelled", "expired", "rejected", "refused", "submission_lost"}
        assert set(self.call.not_placed) <= reasons

    @invariant()
    def one_attempt_at_a_time(self) -> None:
        """Only the latest attempt may be open, and then the call is dialing or in progress."""
        open_ = {
            AttemptStatus.CLAIMED,
            AttemptStatus.UNKNOWN,
            AttemptStatus.INITIATED,
            AttemptStatus.STARTED,
        }
        for attempt in self.call.attempts[:-1]:
            assert attempt.status not in open_
        latest_is_open = any(attempt.status in open_ for attempt in self.call.attempts[-1:])
        under_way = self.call.status in {CallStatus.DIALING, CallStatus.IN_PROGRESS}
        assert latest_is_open == under_way


TestAnyLife = AnyLife.TestCase

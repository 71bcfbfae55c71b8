"""`core/` answers for every event in every state, and no answer breaks a promise by itself."""

from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outdial.core.call import (
    ATTEMPT_ENDS,
    CALL_ENDS,
    LIVE,
    NEVER_RANG,
    UNSETTLED,
    ActivityType,
    AttemptEvent,
    AttemptStatus,
    AttemptView,
    CallStatus,
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
from outdial.core.circuit import Circuit, CircuitState, Trouble, after_answer, after_read, opened
from outdial.core.look_ups import LookUps
from outdial.core.outcome import Outcome, outcome_of
from outdial.core.reconciling import Known, adoption, learn
from outdial.core.retell_events import parse
from outdial.core.submission import (
    Placed,
    Refused,
    Submission,
    Suspended,
    Throttled,
    Unanswered,
)

ANSWERS: tuple[Submission, ...] = (
    Placed("call_1"),
    Throttled(""),
    Refused(400, ""),
    Suspended(401, ""),
    Suspended(402, ""),
    Unanswered(""),
)
EVENTS: tuple[AttemptEvent, ...] = (
    *ANSWERS,
    HeardStarted(),
    HeardEnded(),
    HeardAnalyzed(connected=True),
    HeardAnalyzed(connected=False),
    HeardAnalyzed(connected=False, over_limit=True),
    SecondCall(),
    GivenUp(),
    Vanished(),
)
_FLAGS = 6


def views(status: AttemptStatus) -> Iterator[AttemptView]:
    """Every state of an attempt with this status, reachable or not."""
    for flags in product((False, True), repeat=_FLAGS):
        yield AttemptView(status, *flags)


@pytest.mark.parametrize("status", AttemptStatus)
def test_every_event_in_every_state_of_an_attempt(status: AttemptStatus) -> None:
    """576 states, 14 events: an answer to each; nothing is told twice, and ends stay ends."""
    for view, event in product(views(status), EVENTS):
        verdict = decide_attempt(view, event)
        where = (view, event, verdict)
        told = verdict.tell
        assert len(set(told)) == len(told), where
        assert not (view.told_initiated and ActivityType.INITIATED in told), where
        assert not (view.told_started and ActivityType.STARTED in told), where
        assert not (view.told_end and ATTEMPT_ENDS & set(told)), where
        assert len(ATTEMPT_ENDS & set(told)) <= 1, where
        # Not placed is told alone, of the latest attempt's call, and of none that was told.
        if ActivityType.NOT_PLACED in told:
            assert told == (ActivityType.NOT_PLACED,), where
            assert view.current, where
            assert not view.call_told, where
            assert verdict.reason, where
        if verdict.call is not None:
            assert view.current, where
        if status in {AttemptStatus.COMPLETED, AttemptStatus.FAILED} or status in NEVER_RANG:
            assert (verdict.status, verdict.call, told) == (status, None, ()), where
        if status is AttemptStatus.LOST:
            # Corrected, and told no second time.
            assert verdict.status in {status, AttemptStatus.COMPLETED, AttemptStatus.FAILED}, where
            assert told == (), where
        if told and ATTEMPT_ENDS & set(told):
            ended = {AttemptStatus.COMPLETED, AttemptStatus.FAILED, AttemptStatus.LOST}
            assert verdict.status in ended, where
            assert view.told_initiated or told[0] is ActivityType.INITIATED or status in LIVE, where
        if status in UNSETTLED and verdict.status in LIVE and not view.told_initiated:
            assert told[0] is ActivityType.INITIATED, where


def test_every_event_again_changes_nothing() -> None:
    """The state that an event leads to answers the same event with nothing new to tell."""
    for status, event in product(AttemptStatus, EVENTS):
        for view in views(status):
            first = decide_attempt(view, event)
            told = set(first.tell)
            after = AttemptView(
                first.status,
                told_initiated=view.told_initiated or ActivityType.INITIATED in told,
                told_started=view.told_started or ActivityType.STARTED in told,
                told_end=view.told_end or bool(ATTEMPT_ENDS & told),
                doubted=view.doubted or isinstance(event, Unanswered),
                current=view.current,
                call_told=view.call_told or ActivityType.INITIATED in told,
            )
            again = decide_attempt(after, event)
            assert again.tell == (), (view, event, first, again)
            assert again.status is first.status, (view, event, first, again)


def test_every_request_in_every_state_of_a_call() -> None:
    """9 states, 5 requests: an answer to each; an ended call stays as it is and tells nothing."""
    for status, request, told in product(CallStatus, Request, (False, True)):
        verdict = decide_call(status, request, call_told=told)
        where = (status, request, verdict)
        if status in CALL_ENDS:
            assert (verdict.status, verdict.tell) == (status, ()), where
        if not verdict.granted:
            assert (verdict.status, verdict.tell) == (status, ()), where
        if verdict.status in CALL_ENDS - {status}:
            assert verdict.tell == (() if told else (ActivityType.NOT_PLACED,)), where


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["ongoing", "ended", "error", "not_connected", "registered", "call_1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
_FIELDS = ("call_id", "call_status", "start_timestamp", "end_timestamp", "duration_ms")
_MORE = ("metadata", "call_analysis", "disconnection_reason", "agent_id", "agent_version")
CALLS = st.fixed_dictionaries({}, optional=dict.fromkeys((*_FIELDS, *_MORE), JSON))
KNOWN = st.builds(
    Known,
    st.sampled_from(AttemptStatus),
    told_started=st.booleans(),
    line_open=st.booleans(),
    silent_ms=st.integers(0, 2**53),
)


@given(CALLS, KNOWN, st.integers(1, 10**9), st.integers(0, 10**9))
def test_every_answer_can_be_learned_from(
    call: dict[str, object], known: Known, after_ms: int, analysis_after_ms: int
) -> None:
    """Whatever get-call says of whatever is known: events that can be read, and a time to ask."""
    lesson = learn(call, known, after_ms=after_ms, analysis_after_ms=analysis_after_ms)
    found = adoption(call, after_ms=after_ms, analysis_after_ms=analysis_after_ms)
    assert found
    for event in (*lesson.events, *found):
        parsed = parse(event)
        assert parsed.event
        assert parsed.retell_call_id == parse({"event": "x", "call": call}).retell_call_id
    assert lesson.again_ms > 0 or lesson.events


@given(st.text() | st.none(), st.text() | st.none(), st.booleans() | st.none())
def test_every_reason_is_an_outcome(
    status: str | None,
    reason: str | None,
    in_voicemail: bool | None,  # noqa: FBT001
) -> None:
    """Retell adds reasons without notice; each is one of the seven outcomes."""
    assert outcome_of(status, reason, in_voicemail=in_voicemail) in Outcome


@given(st.data())
def test_the_circuit_answers_everything(data: st.DataObject) -> None:
    """Any run of answers and reads leaves it in one of its states, and only a trouble stops it."""
    circuit, now = Circuit(), 0
    steps = st.sampled_from([*ANSWERS, "read", "probe", *Trouble])
    for step in data.draw(st.lists(steps, max_size=30)):
        now += data.draw(st.integers(0, 400_000))
        match step:
            case "read":
                circuit = after_read(circuit, now)
            case "probe":
                if circuit.admits(now):
                    circuit = circuit.probing("a", now + 60_000)
            case Trouble():
                circuit = opened(circuit, step, "", now)
            case str():
                raise AssertionError(step)
            case _:
                circuit = after_answer(circuit, data.draw(st.sampled_from("ab")), step, now)
        closed = circuit.state is CircuitState.CLOSED
        assert closed == (circuit.trouble is None)
        assert circuit.admits(now) or not closed
        if closed:
            assert circuit.probe is None


@given(st.integers(1, 10**9), st.integers(-5, 10**6), st.integers(0, 2**53), st.integers(0, 2**53))
def test_look_ups_come_to_an_end(submit_ms: int, doubts: int, first: int, now: int) -> None:
    """A pause is never longer than a sixth of the window, and never none."""
    look_ups = LookUps(submit_ms)
    pause = look_ups.pause(doubts, first, now)
    assert 0 <= pause <= look_ups.apart_ms
    assert not look_ups.gives_up(None, now)
    assert look_ups.gives_up(now, now + look_ups.apart_ms)

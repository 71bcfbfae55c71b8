"""What Retell's word about a silent attempt comes to."""

from dataclasses import replace
from typing import Any

import pytest

from outdial.core.call import AttemptStatus
from outdial.core.reconciling import LONGEST_MS, NOTHING, Drift, Known, Lesson, adoption, learn

AFTER = 900_000
ANALYSIS_AFTER = 3_600_000
CALL: dict[str, Any] = {
    "call_id": "call_1",
    "agent_id": "agent_1",
    "metadata": {"outdial_attempt_id": "attempt_1"},
    "transcript": "so far",
}
ONGOING = CALL | {"call_status": "ongoing", "start_timestamp": 7}
ENDED = CALL | {"call_status": "ended", "start_timestamp": 7, "end_timestamp": 9}
MISSED = CALL | {"call_status": "not_connected", "duration_ms": 0}
ANALYSIS = {"call_analysis": {"call_summary": "Booked."}}

SILENT = Known(AttemptStatus.INITIATED, told_started=False, line_open=True, silent_ms=AFTER)
STARTED = replace(SILENT, status=AttemptStatus.STARTED, told_started=True)
OVER = replace(STARTED, line_open=False)
LOST = replace(SILENT, status=AttemptStatus.LOST, line_open=False)
CONCLUDED = replace(OVER, status=AttemptStatus.COMPLETED)


def lesson(call: dict[str, Any], known: Known = SILENT) -> Lesson:
    """By the usual times."""
    return learn(call, known, after_ms=AFTER, analysis_after_ms=ANALYSIS_AFTER)


def names(found: Lesson) -> list[str]:
    """The events it comes to."""
    return [event["event"] for event in found.events]


def waited(known: Known) -> Known:
    """So long silent that no analysis is to be expected."""
    return replace(known, silent_ms=ANALYSIS_AFTER)


@pytest.mark.parametrize(
    ("call", "known", "events", "drift"),
    [
        (CALL | {"call_status": "registered"}, SILENT, [], None),
        (CALL | {"call_status": "of tomorrow"}, SILENT, [], None),
        (CALL, SILENT, [], None),
        (CALL | {"call_status": ["ended"]}, SILENT, [], None),
        (ONGOING, SILENT, ["call_started"], Drift.START_MISSED),
        (ONGOING, STARTED, [], None),
        (ONGOING, LOST, [], None),
        (ENDED, SILENT, ["call_started", "call_ended"], Drift.END_MISSED),
        (ENDED, STARTED, ["call_ended"], Drift.END_MISSED),
        (MISSED, SILENT, ["call_ended"], Drift.END_MISSED),
        (CALL | {"end_timestamp": 9}, SILENT, ["call_ended"], Drift.END_MISSED),
        (ENDED, OVER, [], None),
        (ENDED, waited(OVER), ["call_analyzed"], Drift.NEVER_ANALYSED),
        (ENDED | {"call_analysis": {}}, waited(OVER), ["call_analyzed"], Drift.NEVER_ANALYSED),
        (ENDED, waited(LOST), ["call_analyzed"], Drift.NEVER_ANALYSED),
        (ENDED, waited(CONCLUDED), [], None),
        (ENDED | ANALYSIS, SILENT, ["call_analyzed"], Drift.ANALYSIS_MISSED),
        (ENDED | ANALYSIS, CONCLUDED, ["call_analyzed"], Drift.ANALYSIS_MISSED),
        (ENDED | ANALYSIS, LOST, ["call_analyzed"], Drift.ANALYSIS_MISSED),
        # A transferred leg may outlast the analysis.
        (ONGOING | ANALYSIS, STARTED, ["call_analyzed"], Drift.ANALYSIS_MISSED),
        (MISSED | ANALYSIS, SILENT, ["call_analyzed"], Drift.ANALYSIS_MISSED),
    ],
)
def test_what_a_call_object_proves(
    call: dict[str, Any], known: Known, events: list[str], drift: Drift | None
) -> None:
    """The events that Retell's webhooks would have told, as far as they were not heard."""
    found = lesson(call, known)
    assert (names(found), found.drift) == (events, drift)


def test_a_start_is_told_in_words_that_do_not_change() -> None:
    """Asked about again, a call that goes on gives the very same event."""
    [event] = lesson(ONGOING).events
    assert event["call"] == {
        "call_id": "call_1",
        "agent_id": "agent_1",
        "metadata": {"outdial_attempt_id": "attempt_1"},
        "call_status": "ongoing",
        "start_timestamp": 7,
    }
    # Also where the call is over by the time it is asked about.
    assert lesson(ENDED).events[0] == event


def test_an_end_is_told_whole() -> None:
    """It holds all that Retell told."""
    assert lesson(ENDED, STARTED).events[0]["call"] == ENDED


@pytest.mark.parametrize(
    ("known", "call", "again_ms"),
    [
        (replace(SILENT, silent_ms=0), ONGOING, AFTER),
        (replace(STARTED, silent_ms=2 * AFTER), ONGOING, 2 * AFTER),
        (replace(STARTED, silent_ms=9 * LONGEST_MS), ONGOING, LONGEST_MS),
        # Not later than the analysis is waited for.
        (replace(OVER, silent_ms=ANALYSIS_AFTER - 5), ENDED, 5),
    ],
)
def test_asked_about_less_and_less_often(known: Known, call: dict[str, Any], again_ms: int) -> None:
    """The longer it is silent the longer until it is asked about again."""
    assert lesson(call, known).again_ms == again_ms


def test_a_short_wait_for_the_analysis() -> None:
    """It holds from the end on, however long a silence is left alone."""
    found = learn(ENDED, SILENT, after_ms=AFTER, analysis_after_ms=1_000)
    assert found.again_ms == 1_000


def test_adoption() -> None:
    """A call that nothing has happened to yet is told by an event of our own."""

    def told(call: dict[str, Any]) -> list[Any]:
        events = adoption(call, after_ms=AFTER, analysis_after_ms=ANALYSIS_AFTER)
        return [event["event"] for event in events]

    assert told(CALL | {"call_status": "registered"}) == ["call_found"]
    assert told(ONGOING) == ["call_started"]
    assert told(ENDED) == ["call_started", "call_ended"]
    assert told(ENDED | ANALYSIS) == ["call_analyzed"]
    assert NOTHING.line_open

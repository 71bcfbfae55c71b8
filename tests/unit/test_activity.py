"""Facts about `core.activity`: the events as CONTRACT lists them."""

import dataclasses
import json
import uuid
from typing import Any

import pytest

from outdial.core import activity
from outdial.core.activity import AttemptFacts, CallFacts
from outdial.core.call import ActivityType
from outdial.core.retell_events import CallDetails, call_details

AT_MS = 1_795_363_200_000
AT = "2026-11-22T16:00:00.000Z"
CALL = CallFacts(
    call_id="0197-call",
    deployment="d1",
    tenant="acme",
    external_id="candidate-7",
    agent_id="agent_1",
    agent_version=None,
    metadata={"job": "123"},
)
ATTEMPT = AttemptFacts(number=2, retell_call_id="call_9")
BASE = {
    "sequence": 3,
    "call_id": "0197-call",
    "attempt": 2,
    "retell_call_id": "call_9",
    "external_id": "candidate-7",
    "tenant": "acme",
    "agent_id": "agent_1",
    "agent_version": None,
    "occurred_at": AT,
    "metadata": {"job": "123"},
}
ANALYZED = {
    "call_status": "ended",
    "disconnection_reason": "user_hangup",
    "from_number": "+14155550100",
    "to_number": "+14155550123",
    "agent_version": 4,
    "start_timestamp": AT_MS,
    "end_timestamp": AT_MS + 61_000,
    "duration_ms": 61_000,
    "transcript": "Agent: Hello",
    "recording_url": "https://recordings.example/1.wav",
    "call_cost": {"combined_cost": 12.5},
    "call_analysis": {
        "call_summary": "They agreed on Tuesday.",
        "in_voicemail": False,
        "user_sentiment": "Positive",
        "call_successful": True,
        "custom_analysis_data": {"slot": "Tuesday"},
    },
}
DETAILS = call_details(ANALYZED)


def build(
    kind: ActivityType,
    *,
    attempt: AttemptFacts | None = ATTEMPT,
    details: CallDetails | None = None,
    reason: str | None = None,
    message: str | None = None,
) -> dict[str, Any]:
    """An event with everything else as above."""
    return activity.build(
        kind,
        event_id="e1",
        sequence=3,
        call=CALL,
        attempt=attempt,
        occurred_at_ms=AT_MS,
        details=details,
        reason=reason,
        message=message,
    )


def test_the_envelope_is_a_cloudevent() -> None:
    """The attributes that CloudEvents 1.0 requires, and subject, time and content type."""
    event = build(ActivityType.INITIATED)
    assert list(event) == [
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "datacontenttype",
        "data",
    ]
    assert event["specversion"] == "1.0"
    assert event["id"] == "e1"
    assert event["source"] == "urn:outdial:d1"
    assert event["type"] == "voice_call.initiated"
    assert event["subject"] == "0197-call"
    assert event["time"] == AT
    assert event["datacontenttype"] == "application/json"


@pytest.mark.parametrize("kind", [ActivityType.INITIATED, ActivityType.STARTED])
def test_initiated_and_started_say_what_every_event_says(kind: ActivityType) -> None:
    """They add nothing to the common data."""
    assert build(kind)["data"] == BASE


def test_completed_adds_the_result() -> None:
    """The analysis' findings are added, and the agent version that really spoke."""
    assert build(ActivityType.COMPLETED, details=DETAILS)["data"] == BASE | {
        "agent_version": "4",
        "outcome": "answered",
        "duration_ms": 61_000,
        "disconnection_reason": "user_hangup",
        "call_successful": True,
        "user_sentiment": "Positive",
        "in_voicemail": False,
        "call_summary": "They agreed on Tuesday.",
        "custom_analysis_data": {"slot": "Tuesday"},
        "cost_usd": 0.125,
        "recording_url": "https://recordings.example/1.wav",
    }


def test_completed_without_retells_word() -> None:
    """A connected attempt that Retell forgot has the outcome `error` and all else null."""
    data = build(ActivityType.COMPLETED)["data"]
    result = {name: value for name, value in data.items() if name not in BASE}
    assert result.pop("outcome") == "error"
    assert len(result) == 9
    assert set(result.values()) == {None}


def test_failed_adds_outcome_and_reason() -> None:
    """The reason is Retell's disconnection reason, unless another one is given."""
    busy = call_details({"call_status": "not_connected", "disconnection_reason": "dial_busy"})
    assert build(ActivityType.FAILED, details=busy)["data"] == BASE | {
        "outcome": "busy",
        "reason": "dial_busy",
    }
    assert build(ActivityType.FAILED, reason="lost")["data"] == BASE | {
        "outcome": "error",
        "reason": "lost",
    }


def test_not_placed_adds_reason_and_message() -> None:
    """It needs no attempt, and says why in our word and in the platform's."""
    event = build(
        ActivityType.NOT_PLACED, attempt=None, reason="refused", message="number not found"
    )
    assert event["data"] == BASE | {
        "attempt": None,
        "retell_call_id": None,
        "reason": "refused",
        "message": "number not found",
    }


def test_metadata_is_always_an_object() -> None:
    """A call without metadata has an empty object, so that consumers need no case for null."""
    bare = dataclasses.replace(CALL, metadata=None, agent_version="2")
    event = activity.build(
        ActivityType.STARTED,
        event_id="e1",
        sequence=1,
        call=bare,
        attempt=ATTEMPT,
        occurred_at_ms=AT_MS,
    )
    assert event["data"]["metadata"] == {}
    assert event["data"]["agent_version"] == "2"


@pytest.mark.parametrize("kind", list(ActivityType))
def test_no_numbers_and_no_transcript(kind: ActivityType) -> None:
    """Whatever the details hold, neither phone numbers nor the transcript leave."""
    text = json.dumps(build(kind, details=DETAILS))
    assert "+1415" not in text
    assert "Agent: Hello" not in text


def test_ids_are_derived() -> None:
    """The same subject and type give the same id; another of either gives another."""
    ids = {activity.event_id(subject, kind) for subject in ("a1", "a2") for kind in ActivityType}
    assert len(ids) == 2 * len(ActivityType)
    assert activity.event_id("a1", ActivityType.STARTED) in ids
    assert all(uuid.UUID(found).version == 5 for found in ids)


def test_ids_stay_what_they_are() -> None:
    """Receivers deduplicate by id, so no release may derive them otherwise."""
    assert activity.event_id("a1", ActivityType.INITIATED) == "93704d0e-b4f8-574d-9bf3-db82f000431f"

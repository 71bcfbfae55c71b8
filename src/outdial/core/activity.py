"""Activity (ABT) events: what the engagement service is told, as CloudEvents 1.0.

They hold no phone numbers and no transcripts. Ids are derived from what the event is about, so
an event made twice is the same event.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from outdial.core.call import ActivityType
from outdial.core.outcome import Outcome
from outdial.core.retell_events import CallDetails
from outdial.core.times import to_rfc3339

#: Media type of the structured JSON form (CloudEvents 1.0, HTTP binding 3.2).
CONTENT_TYPE = "application/cloudevents+json"

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:outdial:activity")


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What every event of a call says of it; `metadata` is the caller's, without our own keys."""

    call_id: str
    deployment: str
    tenant: str
    external_id: str | None
    agent_id: str | None
    agent_version: str | None
    metadata: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """The attempt an event is about."""

    number: int
    retell_call_id: str | None


def event_id(subject_id: str, activity: ActivityType) -> str:
    """The id of the one event of this type about `subject_id`.

    `subject_id` is the attempt's id; for `not_placed`, of which a call has at most one, the
    call's.
    """
    return str(uuid.uuid5(_NAMESPACE, f"{subject_id}/{activity.value}"))


def build(  # noqa: PLR0913 - one argument a fact, all by name
    activity: ActivityType,
    *,
    event_id: str,
    sequence: int,
    call: CallFacts,
    attempt: AttemptFacts | None,
    occurred_at_ms: int,
    details: CallDetails | None = None,
    reason: str | None = None,
    message: str | None = None,
) -> dict[str, Any]:
    """The whole CloudEvent, ready to be written as JSON.

    `sequence` counts the call's events from 1. `details` goes with `completed` and `failed`;
    without them the attempt was concluded without Retell's word, and its outcome is `error`.
    `reason` goes with `not_placed`, and with `failed` where it is not Retell's disconnection
    reason; `message`, the platform's own words, with `not_placed`.
    """
    at = to_rfc3339(occurred_at_ms)
    # Where no version was asked for, only the platform knows which one spoke.
    heard_version = details.agent_version if details is not None else None
    data: dict[str, Any] = {
        "sequence": sequence,
        "call_id": call.call_id,
        "attempt": attempt.number if attempt is not None else None,
        "retell_call_id": attempt.retell_call_id if attempt is not None else None,
        "external_id": call.external_id,
        "tenant": call.tenant,
        "agent_id": call.agent_id,
        "agent_version": heard_version or call.agent_version,
        "occurred_at": at,
        "metadata": dict(call.metadata or {}),
    }
    match activity:
        case ActivityType.COMPLETED:
            data |= _result(details)
        case ActivityType.FAILED:
            heard_reason = details.disconnection_reason if details is not None else None
            data |= {"outcome": _outcome(details), "reason": reason or heard_reason}
        case ActivityType.NOT_PLACED:
            data |= {"reason": reason, "message": message}
        case (
            ActivityType.INITIATED | ActivityType.STARTED
        ):  # pragma: no branch - mypy proves it the last
            pass
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": f"urn:outdial:{call.deployment}",
        "type": activity.value,
        "subject": call.call_id,
        "time": at,
        "datacontenttype": "application/json",
        "data": data,
    }


def _outcome(details: CallDetails | None) -> str:
    return (details.outcome if details is not None else Outcome.ERROR).value


def _result(details: CallDetails | None) -> dict[str, Any]:
    names = (
        "duration_ms",
        "disconnection_reason",
        "call_successful",
        "user_sentiment",
        "in_voicemail",
        "call_summary",
        "custom_analysis_data",
        "cost_usd",
        "recording_url",
    )
    return {"outcome": _outcome(details)} | {name: getattr(details, name, None) for name in names}

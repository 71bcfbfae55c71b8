"""Calls and pauses as JSON."""

from dataclasses import asdict
from typing import Any

from outdial.core.times import to_rfc3339
from outdial.ports.intake import AttemptRecord, CallRecord, Pause, TimelineEntry


def summary_json(call: CallRecord) -> dict[str, Any]:
    """A call as lists show it."""
    return {
        "id": call.id,
        "status": call.status.value,
        "to_number": call.to_number,
        "from_number": call.from_number,
        "agent_id": call.agent_id,
        "agent_version": call.agent_version,
        "external_id": call.external_id,
        "campaign": call.campaign,
        "time_zone": call.time_zone,
        "metadata": call.metadata,
        "dynamic_variables": call.dynamic_variables,
        "not_before": _time(call.not_before),
        "expires_at": _time(call.expires_at),
        "created_at": _time(call.created_at),
        "updated_at": _time(call.updated_at),
        "reason": call.reason,
    }


def call_json(call: CallRecord) -> dict[str, Any]:
    """A call with its attempts and timeline."""
    return summary_json(call) | {
        "attempts": [_attempt(attempt) for attempt in call.attempts],
        "timeline": [_entry(entry) for entry in call.timeline],
    }


def pauses_json(pauses: list[Pause]) -> dict[str, Any]:
    """The pauses in force, as a list."""
    items = [
        {"tenant": pause.tenant, "campaign": pause.campaign, "since": _time(pause.since)}
        for pause in pauses
    ]
    return {"items": items, "next_cursor": None}


def _attempt(attempt: AttemptRecord) -> dict[str, Any]:
    return asdict(attempt) | {
        "submitted_at": _time(attempt.submitted_at),
        "started_at": _time(attempt.started_at),
        "ended_at": _time(attempt.ended_at),
        "unknown_since": _time(attempt.unknown_since),
        "next_look_up_at": _time(attempt.next_look_up_at),
    }


def _entry(entry: TimelineEntry) -> dict[str, Any]:
    told: dict[str, Any] = {"at": _time(entry.at), "kind": entry.kind}
    if entry.attempt is not None:
        told["attempt"] = entry.attempt
    if entry.reason is not None:
        told["reason"] = entry.reason
    return told


def _time(at: int | None) -> str | None:
    return None if at is None else to_rfc3339(at)

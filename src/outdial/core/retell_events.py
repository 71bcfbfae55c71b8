"""Retell's webhook payloads, read tolerantly: what we use is checked, the rest is passed over.

Unknown events, fields and enum values are normal input; a field of a surprising type counts as
absent. Source of the shapes: Retell's API description and SDK 6.2.13.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from outdial.core.call import Heard, HeardAnalyzed, HeardEnded, HeardStarted
from outdial.core.lenient_json import clean, number, storable
from outdial.core.outcome import OVER_LIMIT, Outcome, outcome_of

CALL_STARTED = "call_started"
CALL_ENDED = "call_ended"
CALL_ANALYZED = "call_analyzed"
#: What we act on; Retell may send others, which are kept.
KINDS = (CALL_STARTED, CALL_ENDED, CALL_ANALYZED)

DEPLOYMENT_KEY = "outdial_deployment"
CALL_KEY = "outdial_call_id"
ATTEMPT_KEY = "outdial_attempt_id"

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CallDetails:
    """What an analysed call tells. Times in ms since the epoch, durations in ms, money in USD."""

    call_status: str | None
    disconnection_reason: str | None
    outcome: Outcome
    started_at: int | None
    ended_at: int | None
    duration_ms: int | None
    call_successful: bool | None
    user_sentiment: str | None
    in_voicemail: bool | None
    call_summary: str | None
    custom_analysis_data: dict[str, Any] | None
    cost_usd: float | None
    recording_url: str | None
    transcript: str | None
    agent_id: str | None
    agent_name: str | None
    agent_version: str | None
    latency_p50_ms: float | None


@dataclass(frozen=True, slots=True)
class ProviderEvent:
    """One webhook.

    `details` is filled for `call_analyzed` only; `heard` is None for the events that change
    nothing (opt-in and unknown ones). `analysed`: the call object holds an analysis.
    """

    event: str
    retell_call_id: str
    event_timestamp: int
    deployment: str | None
    call_id: str | None
    attempt_id: str | None
    started_at: int | None
    heard: Heard | None
    details: CallDetails | None = field(default=None)
    analysed: bool = False


def body_sha256(body: bytes) -> str:
    """Hash of the raw body as lowercase hex: with call id and event the identity of an event."""
    return hashlib.sha256(body).hexdigest()


def retell_call_id_of(payload: Object) -> str:
    """The call id, or an empty string where the payload has none."""
    return _name(_object(payload.get("call")).get("call_id")) or ""


def event_of(payload: Object) -> str:
    """The event's name, or an empty string where the payload has none."""
    return _name(payload.get("event")) or ""


def parse(payload: Object) -> ProviderEvent:
    """Read a webhook body that `lenient_json.decode_object` decoded.

    Never raises; `event` and the call id may be empty strings.
    """
    call = _object(payload.get("call"))
    metadata = _object(call.get("metadata"))
    event = event_of(payload)
    details = call_details(call) if event == CALL_ANALYZED else None
    return ProviderEvent(
        event=event,
        retell_call_id=retell_call_id_of(payload),
        event_timestamp=_whole(payload.get("event_timestamp")) or 0,
        deployment=_name(metadata.get(DEPLOYMENT_KEY)),
        call_id=_name(metadata.get(CALL_KEY)),
        attempt_id=_name(metadata.get(ATTEMPT_KEY)),
        started_at=_whole(call.get("start_timestamp")),
        heard=_heard(event, details),
        details=details,
        analysed=bool(_object(call.get("call_analysis"))),
    )


def call_details(call: Object) -> CallDetails:
    """Everything we keep of a call object."""
    analysis = _object(call.get("call_analysis"))
    status = _text(call.get("call_status"))
    reason = _text(call.get("disconnection_reason"))
    in_voicemail = _flag(analysis.get("in_voicemail"))
    custom = analysis.get("custom_analysis_data")
    return CallDetails(
        call_status=status,
        disconnection_reason=reason,
        outcome=outcome_of(status, reason, in_voicemail=in_voicemail),
        started_at=_whole(call.get("start_timestamp")),
        ended_at=_whole(call.get("end_timestamp")),
        duration_ms=_whole(call.get("duration_ms")),
        call_successful=_flag(analysis.get("call_successful")),
        user_sentiment=_text(analysis.get("user_sentiment")),
        in_voicemail=in_voicemail,
        call_summary=_text(analysis.get("call_summary")),
        custom_analysis_data=storable(custom) if isinstance(custom, Mapping) else None,
        cost_usd=_dollars(_object(call.get("call_cost")).get("combined_cost")),
        recording_url=_text(call.get("recording_url")),
        transcript=_text(call.get("transcript")),
        agent_id=_text(call.get("agent_id")),
        agent_name=_text(call.get("agent_name")),
        agent_version=_version(call.get("agent_version")),
        latency_p50_ms=number(_object(_object(call.get("latency")).get("e2e")).get("p50")),
    )


def _heard(event: str, details: CallDetails | None) -> Heard | None:
    if details is not None:
        connected = (
            details.call_status == "ended"
            or details.started_at is not None
            or bool(details.duration_ms)
        )
        over_limit = details.disconnection_reason == OVER_LIMIT
        return HeardAnalyzed(connected=connected and not over_limit, over_limit=over_limit)
    if event == CALL_STARTED:
        return HeardStarted()
    return HeardEnded() if event == CALL_ENDED else None


def _object(value: object) -> Object:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return clean(value) if isinstance(value, str) and value else None


#: Names and ids are keys of indexes, which have limits of their own.
_MAX_NAME = 255


def _name(value: object) -> str | None:
    found = _text(value)
    return None if found is None else found[:_MAX_NAME]


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


#: Beyond this a number is no time in ms, and no column can hold it.
_MAX_WHOLE = 2**53


def _whole(value: object) -> int | None:
    found = number(value)
    return int(found) if found is not None and 0 <= found <= _MAX_WHOLE else None


def _version(value: object) -> str | None:
    found = _whole(value)
    return _text(value) if found is None else str(found)


def _dollars(cents: object) -> float | None:
    found = number(cents)
    return None if found is None else round(found / 100, 6)

"""Retell's webhook bodies, read fast: only what we use is built, the rest is passed over.

Most of a webhook is the transcript, told three times with the timing of every word, of which we
read one. What the fast reader can't make sense of the lenient one reads (`core.lenient_json`), so
the two tell the same of every body that the lenient one takes.
"""

from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec

from outdial.core.lenient_json import decode_object


class _CallId(TypedDict, total=False):
    call_id: Any


class _Head(TypedDict, total=False):
    event: Any
    call: _CallId


class _Cost(TypedDict, total=False):
    combined_cost: Any


class _Median(TypedDict, total=False):
    p50: Any


class _Latency(TypedDict, total=False):
    e2e: _Median | None


class _Call(TypedDict, total=False):
    agent_id: Any
    agent_name: Any
    agent_version: Any
    call_analysis: Any
    call_cost: _Cost | None
    call_id: Any
    call_status: Any
    disconnection_reason: Any
    duration_ms: Any
    end_timestamp: Any
    latency: _Latency | None
    metadata: Any
    recording_url: Any
    start_timestamp: Any
    transcript: Any


class _Webhook(TypedDict, total=False):
    """What `core.retell_events.parse` asks for; a test holds the two together."""

    event: Any
    event_timestamp: Any
    call: _Call


_HEAD = msgspec.json.Decoder(_Head)
_WEBHOOK = msgspec.json.Decoder(_Webhook)


def decode_head(body: bytes) -> Mapping[str, Any] | None:
    """The event's name and the call's id of a webhook's body; None where it is no JSON object."""
    return _decode(_HEAD, body)


def decode_webhook(body: bytes) -> Mapping[str, Any] | None:
    """What `core.retell_events.parse` reads of a body; None where it is no JSON object."""
    return _decode(_WEBHOOK, body)


def _decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Mapping[str, Any] | None:
    try:
        # As text, for of what it passes over the decoder does not ask whether it is UTF-8.
        decoded: Mapping[str, Any] = decoder.decode(body.decode("utf-8"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return decode_object(body)
    return decoded

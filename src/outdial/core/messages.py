"""What travels in the two queues: small JSON envelopes with a version.

A call message is only a hint that a call is due; the database decides. An event message carries
one webhook: plain, compressed, or as a pointer to where it is parked.
"""

import base64
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

VERSION = 1


class MalformedMessageError(ValueError):
    """The body is no envelope of ours, or of a version from the future."""


@dataclass(frozen=True, slots=True)
class CallHint:
    """`call_id` may be due."""

    call_id: str


@dataclass(frozen=True, slots=True)
class EventMessage:
    """One webhook on its way. `received_at` in ms.

    `payload`: the raw body as text (`plain`), base64 of zlib (`zlib`), or the parking key of the
    raw body (`parked`). The three identity fields are known without opening the payload.
    """

    retell_call_id: str
    event: str
    sha256: str
    received_at: int
    encoding: Literal["plain", "zlib", "parked"]
    payload: str


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def encode_call_hint(hint: CallHint) -> str:
    """JSON text of a call message."""
    return _compact({"v": VERSION, "call_id": hint.call_id})


def decode_call_hint(body: str) -> CallHint:
    """Raise `MalformedMessageError` with the reason where it is none."""
    fields = _envelope(body)
    return CallHint(_text(fields, "call_id"))


def encode_event(message: EventMessage, dumps: Callable[[object], str] = _compact) -> str:
    """JSON text of an event message; `dumps` may be a faster writer.

    Of what JSON may hold unescaped SQS refuses two characters; they are in strings only, and are
    escaped there, so that a message is as large in the queue as it is here.
    """
    text = dumps(
        {
            "v": VERSION,
            "retell_call_id": message.retell_call_id,
            "event": message.event,
            "sha256": message.sha256,
            "received_at": message.received_at,
            "encoding": message.encoding,
            "payload": message.payload,
        }
    )
    if "\ufffe" in text or "\uffff" in text:
        return text.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
    return text


def decode_event(body: str, loads: Callable[[str], object] = json.loads) -> EventMessage:
    """Raise `MalformedMessageError` with the reason where it is none; `loads` may be faster."""
    fields = _envelope(body, loads)
    encoding = fields.get("encoding")
    # Not a set: what can't be hashed is no encoding either.
    if encoding not in ("plain", "zlib", "parked"):
        msg = f"encoding {encoding!r} is not one of plain, zlib, parked"
        raise MalformedMessageError(msg)
    received_at = fields.get("received_at")
    if not isinstance(received_at, int) or isinstance(received_at, bool):
        msg = "received_at is not an integer"
        raise MalformedMessageError(msg)
    return EventMessage(
        retell_call_id=_text(fields, "retell_call_id"),
        event=_text(fields, "event"),
        sha256=_text(fields, "sha256"),
        received_at=received_at,
        encoding=encoding,
        payload=_text(fields, "payload"),
    )


def compress(body: bytes) -> str:
    """`payload` of encoding `zlib`."""
    return base64.b64encode(zlib.compress(body, 6)).decode("ascii")


def open_payload(message: EventMessage) -> bytes:
    """The raw body of a `plain` or `zlib` message; `MalformedMessageError` where it is broken.

    The body of a `parked` message is what the parking holds under `payload`.
    """
    try:
        if message.encoding == "plain":
            return message.payload.encode("utf-8")
        if message.encoding == "zlib":
            return zlib.decompress(base64.b64decode(message.payload, validate=True))
    except (ValueError, zlib.error) as error:
        msg = f"payload can't be opened: {error}"
        raise MalformedMessageError(msg) from error
    msg = "the payload is parked, not in the message"
    raise MalformedMessageError(msg)


def parking_key(retell_call_id: str, event: str, sha256: str) -> str:
    """Where a body over the queue's limit is parked: its inbox identity as a key.

    The hash alone tells bodies apart; call id and event are there for whoever looks.
    """
    return f"events/{_slug(retell_call_id)}/{_slug(event)}-{sha256}.json"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", text[:56].lower()) or "none"


def _envelope(body: str, loads: Callable[[str], object] = json.loads) -> dict[str, Any]:
    try:
        fields = loads(body)
    except (ValueError, RecursionError) as error:
        msg = f"not JSON: {error}"
        raise MalformedMessageError(msg) from error
    if not isinstance(fields, dict):
        msg = "not a JSON object"
        raise MalformedMessageError(msg)
    if fields.get("v") != VERSION:
        msg = f"version {fields.get('v')!r} is not {VERSION}"
        raise MalformedMessageError(msg)
    return fields


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        msg = f"{name} is not a string"
        raise MalformedMessageError(msg)
    return value

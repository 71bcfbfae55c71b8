"""The webhook entry: verifies Retell's signature, normalises, forwards to the event queue.

`handler(event, context)` is the AWS Lambda behind a function URL, an API Gateway (payload 1.0 and
2.0) or an ALB. It answers 2xx only after the queue took the event; on anything else Retell tries
again. It touches no database and imports the standard library only, so that a cold start stays
short; requests to SQS and S3 are signed by `adapters.aws.signing`.

Answers: 204 taken · 401 signature missing, bad or stale · 400 signed, but not an event ·
413 over 10 MB · 503 queue or parking unavailable, or not configured.
"""

import base64
import binascii
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from outdial.core.lenient_json import decode_object
from outdial.core.messages import EventMessage, compress, encode_event, parking_key
from outdial.core.retell_events import body_sha256, event_of, retell_call_id_of
from outdial.core.signature import HEADER, Verdict, verify
from outdial.errors import ConfigurationError, Unavailable
from outdial.ports.queue import MAX_MESSAGE_BYTES, Outgoing

MAX_BODY_BYTES = 10_000_000
#: Room for what a queue counts on top of the body (SQS: attributes).
_MAX_QUEUED_BYTES = MAX_MESSAGE_BYTES - 16_384

_log = logging.getLogger("outdial.webhook")

Response = dict[str, Any]
#: Hands one message body to the queue; returns once it is stored, else raises `Unavailable`.
Forward = Callable[[str], None]
#: Stores a blob under a key; returns once it is stored, else raises `Unavailable`.
Park = Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True)
class Codec:
    """How a signed body is read (None: no JSON object), and how a queue message is written."""

    decode: Callable[[bytes], Mapping[str, Any] | None]
    encode: Callable[[EventMessage], str]


STANDARD = Codec(decode_object, encode_event)


def wall_clock() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """The handler, with all it depends on. Safe to call from several threads at once.

    `keys`: those that may have signed (two while one is rotated). `codec` may be a faster one
    than the standard library's. Raises only what `forward` and `park` raise besides
    `Unavailable`.
    """

    keys: Sequence[str]
    forward: Forward
    park: Park
    clock: Callable[[], int] = wall_clock
    codec: Codec = STANDARD

    def __call__(self, event: object, _context: object = None) -> Response:
        """Answer one HTTP request, as a function-URL (payload 2.0) event; 1.0 and ALB fit too."""
        request = event if isinstance(event, Mapping) else {}
        return _in_kind(self._answer(request), request)

    def _answer(self, request: Mapping[str, Any]) -> Response:
        if (least := _least_size(request)) > MAX_BODY_BYTES:
            return refusal(413, too_large(least))
        body = _body(request)
        if body is None:
            return refusal(401, "the body can't be read")
        if len(body) > MAX_BODY_BYTES:
            return refusal(413, too_large(len(body)))
        now = self.clock()
        verdict = verify(_header(request, HEADER), body, self.keys, now)
        if verdict is not Verdict.GOOD:
            return refusal(401, f"signature {verdict.value}")
        payload = self.codec.decode(body)
        if payload is None or not isinstance(payload.get("event"), str):
            return refusal(400, "not a JSON object with a string `event`")
        try:
            self.forward(self._message(payload, body, now))
        except Unavailable as error:
            return unavailable(error)
        return {"statusCode": 204}

    def _message(self, payload: Mapping[str, Any], body: bytes, now: int) -> str:
        """The queue message: plain, or compressed or parked where the queue's limit asks for it."""
        call_id, event, sha256 = retell_call_id_of(payload), event_of(payload), body_sha256(body)
        if len(body) < _MAX_QUEUED_BYTES:
            plain = EventMessage(call_id, event, sha256, now, "plain", body.decode("utf-8"))
            # Escaped, the same text may be twice as long.
            if _fits(message := self.codec.encode(plain)):
                return message
        packed = EventMessage(call_id, event, sha256, now, "zlib", compress(body))
        if _fits(message := self.codec.encode(packed)):
            return message
        key = parking_key(call_id, event, sha256)
        self.park(key, body)
        return self.codec.encode(EventMessage(call_id, event, sha256, now, "parked", key))


def refusal(status: int, why: str) -> Response:
    """A problem-details answer; the log has the same line."""
    _log.warning("webhook refused: %d %s", status, why)
    return {
        "statusCode": status,
        "headers": {"content-type": "application/problem+json"},
        "body": json.dumps({"status": status, "detail": why}),
    }


def too_large(size: int) -> str:
    """Why a body of `size` bytes, or of at least as many, is refused."""
    return f"over {MAX_BODY_BYTES} bytes: {size}"


def unavailable(error: Unavailable | ConfigurationError) -> Response:
    """A 503. What is wrong here is for the log, not for who asked."""
    _log.error("webhook not taken: %s", error)
    return refusal(503, "try again later")


def _fits(message: str) -> bool:
    size = len(message) if message.isascii() else len(message.encode("utf-8"))
    return size <= _MAX_QUEUED_BYTES


def _least_size(request: Mapping[str, Any]) -> int:
    """Bytes that the body has at least, known without making them."""
    body = request.get("body")
    size = len(body) if isinstance(body, str) else 0
    return size // 4 * 3 - 2 if request.get("isBase64Encoded") else size


def _body(request: Mapping[str, Any]) -> bytes | None:
    body = request.get("body") or ""
    if not isinstance(body, str):
        return None
    try:
        if request.get("isBase64Encoded"):
            return base64.b64decode(body, validate=True)
        return body.encode("utf-8")
    except (binascii.Error, ValueError):
        return None


def _header(request: Mapping[str, Any], name: str) -> str | None:
    """Function URLs write names in lower case, payload 1.0 as they came; it and ALBs give lists.

    The lists come first: of a header sent twice payload 1.0 tells the last value beside them.
    """
    headers = request.get("multiValueHeaders") or request.get("headers")
    if not isinstance(headers, Mapping):
        return None
    for given, value in headers.items():
        if isinstance(given, str) and given.lower() == name:
            only = value[0] if isinstance(value, list) and len(value) == 1 else value
            return only if isinstance(only, str) else None
    return None


def _in_kind(response: Response, request: Mapping[str, Any]) -> Response:
    """An ALB takes no answer without headers, and lists where it sent lists."""
    context = request.get("requestContext")
    if not (isinstance(context, Mapping) and "elb" in context):
        return response
    headers: Mapping[str, str] = response.get("headers", {})
    told: Response = {**response, "isBase64Encoded": False, "headers": dict(headers)}
    if "multiValueHeaders" in request:
        told["multiValueHeaders"] = {name: [value] for name, value in told.pop("headers").items()}
    return told


_entry: Entry | None = None


def handler(event: object, context: object = None) -> Response:
    """The AWS Lambda, configured by its environment: there as it starts, else when first called."""
    global _entry  # noqa: PLW0603 - a Lambda keeps what it built between calls
    if _entry is None:
        try:
            _entry = from_environment(os.environ)
        except ConfigurationError as error:
            return unavailable(error)
    return _entry(event, context)


def from_environment(environment: Mapping[str, str]) -> Entry:
    """Build the entry; `ConfigurationError` names what is missing or wrong."""
    keys = environment.get("OUTDIAL_RETELL_WEBHOOK_KEY") or environment.get(
        "OUTDIAL_RETELL_API_KEY", ""
    )
    named = tuple(key.strip() for key in keys.split(",") if key.strip())
    if not named:
        raise ConfigurationError(
            "OUTDIAL_RETELL_WEBHOOK_KEY is not set; it is the Retell API key that signs webhooks"
        )
    return Entry(
        named,
        _forward(
            _required(environment, "OUTDIAL_EVENT_QUEUE_URL", "the event queue's URL"), environment
        ),
        _park(
            _required(environment, "OUTDIAL_PARKED_URL", "where payloads too large are parked"),
            environment,
        ),
    )


def _required(environment: Mapping[str, str], name: str, meaning: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise ConfigurationError(f"{name} is not set; it is {meaning}")
    return value


def _forward(url: str, environment: Mapping[str, str]) -> Forward:
    # Imported here, for a Lambda pays for what it imports and needs one queue only.
    if url.startswith(("https:", "http:")):
        from outdial.adapters.aws import addresses, senders  # noqa: PLC0415

        address = addresses.queue_address(url)
        if address is not None:
            return senders.queue_sender(address, environment)
    split = urlsplit(url)
    names = parse_qs(split.query).get("queue", [])
    path = unquote(split.path[1:])
    if split.scheme != "sqlite" or split.netloc or not path or len(names) != 1:
        raise ConfigurationError(
            "OUTDIAL_EVENT_QUEUE_URL is neither an SQS queue's, https://HOST/ACCOUNT/NAME, "
            "nor of the form sqlite:///PATH/queue.db?queue=events"
        )
    from outdial.adapters.sqlite_queue import QueueFile, SQLiteQueue  # noqa: PLC0415

    queue = SQLiteQueue(QueueFile(Path(path)), names[0])
    return lambda body: queue.send_sync([Outgoing(body)])


def _park(url: str, environment: Mapping[str, str]) -> Park:
    if url.startswith("s3:"):
        from outdial.adapters.aws import addresses, senders  # noqa: PLC0415

        address = addresses.bucket_address(url)
        if address is not None:
            return senders.object_sender(address, environment)
    if "://" in url:
        raise ConfigurationError("OUTDIAL_PARKED_URL is neither s3://BUCKET/PREFIX nor a folder")
    from outdial.adapters.folder_parking import FolderParking  # noqa: PLC0415

    return FolderParking(Path(url)).put_sync


if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    # While it starts, a Lambda has whole cores, however little it was given for its work. What is
    # wrong with the set-up is told by the first call.
    with suppress(ConfigurationError):
        _entry = from_environment(os.environ)

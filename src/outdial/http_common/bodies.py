"""Request bodies: limited while they are read, decoded once."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from outdial.http_common.dropping import drop
from outdial.http_common.json_doubts import doubts_in
from outdial.http_common.problems import Fault, Problem, ProblemError, invalid, malformed

JSON = "application/json"
MEGABYTE = 1_048_576


def media_type(request: Request) -> str:
    """The content type without parameters, lower case; empty where none is named."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_media_type(request: Request, *accepted: str) -> str:
    """The media type of the body; 415 where it is none of `accepted`."""
    found = media_type(request)
    if found not in accepted:
        detail = f"the body must be {' or '.join(accepted)}, not {found or 'of unknown type'}"
        raise ProblemError(Problem(415, detail[:300], headers={"Accept": ", ".join(accepted)}))
    return found


async def chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body as it comes; 413 as soon as it is known to be over `limit` bytes."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise ProblemError(_too_large(limit))
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise ProblemError(_too_large(limit))
        yield chunk


async def read_body(request: Request, limit: int = MEGABYTE) -> bytes:
    """The whole body; 413, and the rest dropped, where it is over `limit` bytes."""
    body = bytearray()
    try:
        async for chunk in chunks(request, limit):
            body += chunk
    except ProblemError:
        await drop(request.scope, request.receive)
        raise
    return bytes(body)


async def read_json(request: Request, limit: int = MEGABYTE) -> Any:  # noqa: ANN401
    """The decoded JSON body; 415, 413, or 400 where it is no JSON."""
    require_media_type(request, JSON)
    return decode(await read_body(request, limit))


def decode(body: bytes) -> Any:  # noqa: ANN401 - JSON is any of its kinds
    """Parsed JSON that means one thing only.

    Raises the 400 that says where it breaks off, or the 422 that names keys that are there twice
    and integers that would be changed.
    """
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if "depth limit" in str(error):
            raise ProblemError(invalid([Fault("#", "is nested too deep")])) from None
        if "infinity" in str(error):
            detail = (
                "a number in the body is beyond all that JSON readers can hold: send it as text"
            )
            raise ProblemError(malformed(detail)) from None
        raise ProblemError(malformed(f"the body is not valid JSON: {error}")) from None
    if doubts := doubts_in(body):
        raise ProblemError(invalid(doubts))
    return decoded


def json_response(
    content: object, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """A JSON response."""
    return Response(orjson.dumps(content), status, headers, media_type=JSON)


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the body is over {limit} bytes")

"""What the OpenAPI document says of the Voice API's problems and bodies."""

from typing import Any

from outdial.http_common import openapi

_MEANINGS = {
    400: "The body is not JSON.",
    401: "No API key, or one that is unknown or revoked.",
    403: "The API key lacks the scope.",
    404: "There is no such call for this tenant.",
    409: "The call is under way or has ended.",
    413: "The body is too large.",
    415: "The body is of another media type.",
    422: "The request is not valid; every fault is named.",
    500: "An unexpected error.",
    503: "The database does not answer; nothing was done.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses for these statuses, and for those that every route may give."""
    return openapi.problems(
        {status: _MEANINGS[status] for status in (*statuses, 401, 403, 500, 503)}
    )


def body(content: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    """A request body."""
    return {"requestBody": {"required": required, "content": content}}

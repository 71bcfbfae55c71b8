"""Errors as RFC 9457 problem details, every fault named.

`type` is a stable URN; `errors[].pointer` is `#/field` (a JSON pointer) for the body, `?name` for
a query parameter and `Name` for a header.
"""

import http
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog
from fastapi.exceptions import RequestValidationError
from pydantic_core import ErrorDetails
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from outdial.errors import Unavailable

MEDIA_TYPE = "application/problem+json"
#: Seconds after which to ask again when a dependency is away.
RETRY_AFTER = 2
#: More faults than this are counted, not named: an answer must not outgrow its request.
MOST_FAULTS = 200
#: Names come from the caller and may be as long as the body.
_LONGEST_POINTER = 200

_log = structlog.get_logger(__name__)

_KINDS = {
    400: "bad-request",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    409: "conflict",
    413: "too-large",
    415: "unsupported-media-type",
    422: "validation",
    500: "internal",
    503: "unavailable",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request, and where."""

    pointer: str
    detail: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong. `kind` ends the `type` URN; by default it follows from the status."""

    status: int
    detail: str
    errors: tuple[Fault, ...] = ()
    kind: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The JSON object."""
        kind = self.kind or _KINDS.get(self.status, f"http-{self.status}")
        body: dict[str, Any] = {
            "type": f"urn:outdial:problem:{kind}",
            "title": _phrase(self.status),
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [
                {"pointer": fault.pointer, "detail": fault.detail} for fault in self.errors
            ]
        return body

    def response(self) -> Response:
        """The HTTP response."""
        return Response(
            orjson.dumps(self.body()), self.status, dict(self.headers), media_type=MEDIA_TYPE
        )


class ProblemError(Exception):
    """Ends a request with `problem`."""

    def __init__(self, problem: Problem) -> None:
        """`problem` becomes the response."""
        super().__init__(problem.detail)
        self.problem = problem


def invalid(faults: Iterable[Fault]) -> Problem:
    """422, with every fault."""
    named = list(faults)
    detail = "1 fault" if len(named) == 1 else f"{len(named)} faults"
    return Problem(422, f"{detail} in the request", tuple(named[:MOST_FAULTS]))


def malformed(detail: str) -> Problem:
    """400: the body is no JSON."""
    return Problem(400, detail, kind="malformed-json")


def away(error: Unavailable) -> Problem:
    """503; the dependency is named, its own words stay in the log."""
    return Problem(
        503,
        f"the {error.dependency} does not answer; try again",
        headers={"Retry-After": str(RETRY_AFTER)},
    )


def pointer_to(location: Iterable[int | str]) -> str:
    """JSON pointer (RFC 6901) as a URI fragment's readable form: `#/metadata/a~1b`."""
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in location)
    return "#" + "".join(f"/{part}" for part in parts)[:_LONGEST_POINTER]


_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "string_type": "must be a string",
    "dict_type": "must be an object",
    "model_type": "must be an object",
}


def faults_in(errors: Iterable[ErrorDetails]) -> list[Fault]:
    """Pydantic's errors about a body, as faults."""
    return [
        Fault(
            pointer_to(part for part in error["loc"] if part != "[key]"),
            _WORDS.get(error["type"], error["msg"]),
        )
        for error in errors
    ]


def install(app: Starlette) -> None:
    """Make every error of `app` a problem; what is unexpected says nothing of its cause."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(Unavailable, _on_unavailable)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_unexpected)


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101 - Starlette dispatches by type
    return error.problem.response()


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    detail = error.detail
    headers = dict(error.headers or {})
    if error.status_code == 404:
        detail = f"there is nothing at {request.url.path[:_LONGEST_POINTER]}"
    elif error.status_code == 405:
        headers["Allow"] = _allowed(request, headers.get("Allow", ""))
        detail = f"{request.method} is not allowed here, only {headers['Allow']}"
    return Problem(error.status_code, detail, headers=headers).response()


def _allowed(request: Request, told: str) -> str:
    """Every method of the path. The router names those of the first of its routes only."""
    methods = {method.strip() for method in told.split(",") if method.strip()}
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return ", ".join(sorted(methods))


async def _on_validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    faults = []
    for fault in error.errors():
        place, *rest = fault["loc"]
        name = ".".join(str(part) for part in rest)[:_LONGEST_POINTER]
        words = _parameter_words(fault["type"], fault.get("ctx") or {}) or fault["msg"]
        faults.append(Fault(f"?{name}" if place == "query" else name, words))
    return invalid(faults).response()


def _parameter_words(kind: str, context: Mapping[str, Any]) -> str | None:
    """What is wrong with a parameter, without the validation library's jargon."""
    match kind:
        case "extra_forbidden":
            return "is not a known parameter"
        case "int_parsing" | "int_from_float" | "int_parsing_size":
            return "must be a whole number"
        case "greater_than_equal":
            return f"must be {context['ge']} or more"
        case "less_than_equal":
            return f"must be {context['le']} or less"
        case "enum" | "literal_error":
            return f"must be one of {str(context['expected']).replace(chr(39), '')}"
        case "string_too_long":
            return f"must have {context['max_length']} characters or fewer"
        case "string_pattern_mismatch":
            return "has characters that are not allowed here"
        case _:
            return None


async def _on_unavailable(_: Request, error: Exception) -> Response:
    assert isinstance(error, Unavailable)  # noqa: S101
    _log.warning("dependency away", dependency=error.dependency, detail=error.detail)
    return away(error).response()


async def _on_disconnect(_: Request, __: Exception) -> Response:
    # Nobody is there to read it.
    return Response(status_code=400)


async def _on_unexpected(request: Request, error: Exception) -> Response:
    # The server logs the traceback: this handler only hides it from the caller.
    _log.error("unexpected error", method=request.method, error=type(error).__name__)
    return Problem(500, "an unexpected error; it has been logged").response()


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return f"HTTP {status}"

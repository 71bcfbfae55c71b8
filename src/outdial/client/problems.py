"""What the API says went wrong (RFC 9457), as one exception."""

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from outdial.errors import OutdialError


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: where (`#/to_number`) and what."""

    pointer: str
    detail: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Problem details. `status` is 0 where no answer came at all."""

    status: int
    title: str
    detail: str | None = None
    type: str = "about:blank"
    errors: tuple[Fault, ...] = ()

    @property
    def passing(self) -> bool:
        """Whether asking again later may help."""
        return self.status in {0, 502, 503, 504}

    @property
    def summary(self) -> str:
        """One line: the detail, then every fault."""
        faults = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in self.errors)
        parts = [part for part in (self.detail or self.title, faults) if part]
        return " - ".join(parts)


class ApiError(OutdialError):
    """The API refused a request or did not answer; `problem` says which and why."""

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        """`retry_after`: seconds after which the API asks to be asked again."""
        super().__init__(problem.summary)
        self.problem = problem
        self.retry_after = retry_after


#: `type` of the problems that Outdial's own APIs answer begins so.
OURS = "urn:outdial:problem:"
_ERRNO = re.compile(r"\[Errno (\d+)\]")


def unanswered(base_url: str, why: BaseException) -> ApiError:
    """No answer came."""
    return ApiError(Problem(0, "No answer", f"no answer from {base_url}: {cause(why)}"))


def cause(why: BaseException) -> str:
    """Why a connection failed, in the system's words: the HTTP library's own are for its makers."""
    # aiohttp keeps the socket's error behind its own, and says where it connected once more.
    behind = getattr(why, "os_error", None) or getattr(why, "certificate_error", None) or why
    number = behind.errno if isinstance(behind, OSError) else None
    if number is None and (found := _ERRNO.search(str(behind))):
        # Several addresses were tried, and each failed.
        number = int(found[1])
    if number is not None and number > 0 and not isinstance(behind, ssl.SSLError):
        return os.strerror(number).lower()
    words = getattr(behind, "strerror", None) or str(behind)
    return " ".join(str(words).split()) or type(behind).__name__


def foreign(origin: str, what: str, status: int = 200) -> ApiError:
    """Somebody answered, but not the Voice API."""
    detail = f"{origin} does not look like the Voice API: {what}"
    return ApiError(Problem(status, f"HTTP {status}", detail))


def read_problem(status: int, body: object) -> Problem:
    """Problem details from a decoded body; a body that is none of ours still makes a problem."""
    fields: Mapping[str, Any] = body if isinstance(body, dict) else {}
    errors = fields.get("errors")
    return Problem(
        status=status,
        title=str(fields.get("title") or f"HTTP {status}"),
        detail=fields.get("detail"),
        type=str(fields.get("type") or "about:blank"),
        errors=tuple(
            Fault(str(fault.get("pointer")), str(fault.get("detail")))
            for fault in (errors if isinstance(errors, list) else ())
            if isinstance(fault, dict)
        ),
    )

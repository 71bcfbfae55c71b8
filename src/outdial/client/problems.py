"""What the API says went wrong (RFC 9457), as one exception."""

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


def unanswered(base_url: str, why: BaseException) -> ApiError:
    """No answer came."""
    detail = f"no answer from {base_url}: {str(why) or type(why).__name__}"
    return ApiError(Problem(0, "No answer", detail))


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

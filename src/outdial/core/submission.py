"""What asking Retell to place a call can come to: five answers, and what each one proves.

Source of the status codes: Retell's API description and its SDK (6.2.13).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placed:
    """201, or found by its metadata: Retell has the call."""

    retell_call_id: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """429, or a concurrency limit: nothing rang, and nobody is to blame."""

    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """400, 403, 422: nothing rang, and asking again would be refused again."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Suspended:
    """401, 402: nothing rang; the whole workspace is refused until a person mends it."""

    status: int
    message: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Time-out, reset, 5xx: whether a call was placed is unknown."""

    detail: str


Submission = Placed | Throttled | Refused | Suspended | Unanswered

_REFUSED = frozenset({400, 403, 404, 409, 410, 413, 415, 422})


def from_status(status: int, message: str) -> Throttled | Refused | Suspended | Unanswered:
    """Read an HTTP status that is no success. What is not a plain 4xx proves nothing."""
    if status == 429:  # noqa: PLR2004 - HTTP's own numbers read best as numbers
        return Throttled(message)
    if status in {401, 402}:
        return Suspended(status, message)
    if status in _REFUSED:
        return Refused(status, message)
    return Unanswered(f"HTTP {status}: {message}")

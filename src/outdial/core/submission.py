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


@dataclass(frozen=True, slots=True)
class Absent:
    """Looked up in full, after the last moment it could be submitted, and not there.

    Not an answer to a submission: two of them, a sixth of the window apart, give the attempt up.
    """

    detail: str


Submission = Placed | Throttled | Refused | Suspended | Unanswered

_REFUSED = frozenset({400, 403, 404, 410, 413, 415, 422})
#: Where these do not come in Retell's own form, something between us and Retell said them to
#: every call alike: a wrong base URL, a proxy, a firewall.
_REFUSED_BY_OTHERS = frozenset({403, 404, 405, 407})


def from_status(
    status: int, message: str, *, retells: bool = True
) -> Throttled | Refused | Suspended | Unanswered:
    """Read an HTTP status that is no success; `retells`: its body was an error of Retell's form.

    What is not plainly this call's or the workspace's fault proves nothing: 408, 409 (the same
    key may be under way) and 425 among them.
    """
    if not retells and status in _REFUSED_BY_OTHERS:
        return Suspended(status, message)
    if status == 429 or (status in _REFUSED and "concurrency" in message.lower()):
        return Throttled(message)
    if status in {401, 402}:
        return Suspended(status, message)
    if status in _REFUSED:
        return Refused(status, message)
    return Unanswered(f"HTTP {status}: {message}")

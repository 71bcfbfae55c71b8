"""What a check of `outdial doctor` finds."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `mend`: what to do about a fault."""

    name: str
    state: Literal["ok", "notice", "fault"]
    detail: str
    mend: str | None = None


def ok(name: str, detail: str) -> Check:
    """All is well."""
    return Check(name, "ok", detail)


def fault(name: str, detail: str, mend: str | None = None) -> Check:
    """Somebody has to mend it."""
    return Check(name, "fault", detail, mend)

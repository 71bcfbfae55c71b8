"""The voice platform (Retell), as the stages see it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from outdial.core.submission import Submission


@dataclass(frozen=True, slots=True)
class Concurrency:
    """The workspace's lines in use and its limits, as the platform counts them."""

    current: int
    limit: int
    reserved_inbound: int


@dataclass(frozen=True, slots=True)
class ListedCall:
    """A call of ours as the platform lists it, with the ids that its metadata names.

    `started_at` in ms, None for one that never connected.
    """

    retell_call_id: str
    call_id: str | None
    attempt_id: str | None
    started_at: int | None = field(default=None, compare=False)


class VoicePlatform(Protocol):
    """Retell over HTTP. `submit` never raises; the look-ups raise `Unavailable`."""

    async def submit(self, body: Mapping[str, Any], timeout: float) -> Submission:
        """Ask for one call, once, never retried inside. `timeout`: seconds in all.

        `body` is the create-phone-call request with metadata and `idempotency_key`. Every doubt
        (time-out, reset, 5xx, an answer that can't be read) is `Unanswered`.
        """
        ...

    async def find_attempt(self, attempt_id: str) -> list[str]:
        """Retell call ids whose metadata `outdial_attempt_id` is `attempt_id`, oldest first."""
        ...

    async def get_call(self, retell_call_id: str) -> dict[str, Any] | None:
        """The call object, or None where the platform does not know it (404, 422)."""
        ...

    def calls_of(
        self, deployment: str, *, newest_first: bool = False
    ) -> AsyncIterator[list[ListedCall]]:
        """Every call whose metadata names this deployment, by its start, a page at a time."""
        ...

    async def stop_call(self, retell_call_id: str) -> None:
        """End a call that is under way; no error where it is over or unknown."""
        ...

    async def concurrency(self) -> Concurrency:
        """Lines in use and limits."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...

"""The ledger as the Voice API sees it: take calls in, look at them, cancel, pause.

Times in ms since the epoch. Every method raises `Unavailable("database", …)` when the database
does not answer, and then nothing of it was done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from outdial.core.call import CallStatus


@dataclass(frozen=True, slots=True)
class NewCall:
    """A validated request for one call. `id` is a UUIDv7 made by the caller.

    `request_hash`: SHA-256 of the canonical JSON of the request, to tell a repeated
    `idempotency_key` with the same body from one with another.
    """

    id: str
    tenant: str
    to_number: str
    from_number: str | None = None
    agent_id: str | None = None
    agent_version: str | None = None
    dynamic_variables: Mapping[str, str] | None = None
    metadata: Mapping[str, Any] | None = None
    external_id: str | None = None
    campaign: str | None = None
    time_zone: str | None = None
    not_before: int | None = None
    expires_at: int | None = None
    idempotency_key: str | None = None
    request_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The call is durable; `call_id` is the id of an earlier call where `replayed`."""

    call_id: str
    status: CallStatus
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class KeyConflict:
    """The idempotency key was used before with another body, for `call_id`."""

    call_id: str


@dataclass(frozen=True, slots=True)
class KeyUse:
    """The call an idempotency key stands for, and the hash of the request that made it."""

    call_id: str
    status: CallStatus
    request_hash: str


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt as `GET /v1/calls/{id}` shows it.

    `unknown_since`: no answer came then, and whether it was dialed was not known from there;
    `next_look_up_at`: while it is not, Retell is asked again then. `message`: what Retell, or the
    way to it, said last of its submission.
    """

    id: str
    number: int
    status: str
    retell_call_id: str | None
    submitted_at: int | None
    started_at: int | None
    ended_at: int | None
    outcome: str | None
    disconnection_reason: str | None
    duration_ms: int | None
    call_successful: bool | None
    user_sentiment: str | None
    in_voicemail: bool | None
    call_summary: str | None
    custom_analysis_data: dict[str, Any] | None
    cost_usd: float | None
    recording_url: str | None
    unknown_since: int | None = None
    next_look_up_at: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """Something that happened; `attempt` is its number.

    `kind` is `accepted`, an activity type, `submission_unknown` (no answer: whether it was dialed
    is not known), `not_found` (looked up past the window, and absent), or `alarm`.
    """

    at: int
    kind: str
    attempt: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call as the Voice API shows it; lists leave `attempts` and `timeline` empty."""

    id: str
    tenant: str
    status: CallStatus
    to_number: str
    from_number: str | None
    agent_id: str | None
    agent_version: str | None
    dynamic_variables: dict[str, str] | None
    metadata: dict[str, Any] | None
    external_id: str | None
    campaign: str | None
    time_zone: str | None
    not_before: int | None
    expires_at: int | None
    created_at: int
    updated_at: int
    reason: str | None
    attempts: tuple[AttemptRecord, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class CallPage:
    """Newest first; `next_cursor` is None on the last page."""

    items: tuple[CallRecord, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class CancelOutcome:
    """`granted` is False where the call is being dialed or has ended otherwise."""

    granted: bool
    call: CallRecord


@dataclass(frozen=True, slots=True)
class Pause:
    """A stop button that is pressed. None means every tenant, every campaign."""

    tenant: str | None
    campaign: str | None
    since: int


class Intake(Protocol):
    """Calls as Engage asks for them. `tenant=None` stands for every tenant (admin)."""

    async def accept(
        self, calls: Sequence[NewCall], *, publish: bool
    ) -> list[Accepted | KeyConflict]:
        """Store calls in one commit, an answer each in their order.

        With `publish`, due ones are marked as published in the same commit: the caller must
        send their hints next, or `unpublish` them. A key may come twice in `calls`: the later
        one repeats the first.
        """
        ...

    async def key_use(self, tenant: str, idempotency_key: str) -> KeyUse | None:
        """What a key stands for; None where it is free."""
        ...

    async def unpublish(self, call_ids: Sequence[str]) -> None:
        """Their hints did not reach the queue: the relay is to publish them."""
        ...

    async def published_ahead(self) -> int | None:
        """Calls published and not claimed yet; None while dialing is stopped altogether."""
        ...

    async def get(self, tenant: str | None, call_id: str) -> CallRecord | None:
        """The call with attempts and timeline; None where there is none for this tenant."""
        ...

    async def page(  # noqa: PLR0913 - one argument a filter
        self,
        tenant: str | None,
        *,
        status: CallStatus | None = None,
        external_id: str | None = None,
        campaign: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> CallPage:
        """Newest first. Raises `ValueError` for a cursor that is none of ours."""
        ...

    async def cancel(self, tenant: str | None, call_id: str) -> CancelOutcome | None:
        """Cancel a waiting call; again: the same answer. None where there is none."""
        ...

    async def pause(self, tenant: str | None, campaign: str | None) -> None:
        """Press the stop button: from the next claim on nothing in its scope is dialed."""
        ...

    async def resume(self, tenant: str | None, campaign: str | None) -> None:
        """Lift that pause, and with both None every pause. No error where there is none."""
        ...

    async def pauses(self) -> list[Pause]:
        """The pauses in force."""
        ...

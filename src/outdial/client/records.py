"""What goes to the API and what comes back. Times are aware datetimes in UTC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from outdial.client.problems import Problem

#: Statuses in which a call stays for good.
ENDS = frozenset({"completed", "failed", "cancelled", "expired", "rejected"})


@dataclass(frozen=True, slots=True)
class CallRequest:
    """A call to place; the fields are the API's. Only `to_number` (E.164) is required.

    `not_before` and `expires_at` are aware datetimes or RFC 3339 texts; `idempotency_key` makes
    a repetition give the same call (the client makes one where there is none).
    """

    to_number: str
    from_number: str | None = None
    agent_id: str | None = None
    agent_version: str | int | None = None
    dynamic_variables: Mapping[str, str] | None = None
    metadata: Mapping[str, Any] | None = None
    external_id: str | None = None
    campaign: str | None = None
    time_zone: str | None = None
    not_before: datetime | str | None = None
    expires_at: datetime | str | None = None
    idempotency_key: str | None = None

    def body(self) -> dict[str, Any]:
        """The JSON body: fields that are set, without the idempotency key."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        del values["idempotency_key"]
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Placed:
    """The call is durable. `replayed`: it was already, from an earlier request."""

    id: str
    status: str
    replayed: bool


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """One call of a batch, by its place in it (`index`, from 0): an `id`, or a `problem`.

    `replayed`: its idempotency key had placed it before.
    """

    index: int
    id: str | None = None
    status: str | None = None
    problem: Problem | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """Something that happened to a call: `accepted`, an activity type, a doubt, an alarm."""

    at: datetime
    kind: str
    attempt: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One submission to Retell. Durations in ms, money in US dollars.

    `unknown_since`: no answer came, and whether it was dialed was not known from then on.
    """

    id: str
    number: int
    status: str
    retell_call_id: str | None
    submitted_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
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
    unknown_since: datetime | None = None
    next_look_up_at: datetime | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A call; `attempts` and `timeline` are empty in lists. `raw` is the API's own JSON."""

    id: str
    status: str
    to_number: str
    from_number: str | None
    agent_id: str | None
    agent_version: str | None
    external_id: str | None
    campaign: str | None
    time_zone: str | None
    metadata: dict[str, Any] | None
    dynamic_variables: dict[str, str] | None
    not_before: datetime | None
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    reason: str | None
    attempts: tuple[Attempt, ...]
    timeline: tuple[TimelineEntry, ...]
    raw: dict[str, Any]

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDS


@dataclass(frozen=True, slots=True)
class Page:
    """Calls, newest first; `next_cursor` is None on the last page."""

    items: tuple[Call, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Pause:
    """A stop button that is pressed; None means every tenant, every campaign."""

    tenant: str | None
    campaign: str | None
    since: datetime


def read_call(body: dict[str, Any]) -> Call:
    """A call from its JSON."""
    known = _known(Call, body)
    known["attempts"] = tuple(
        Attempt(**_times(_known(Attempt, attempt))) for attempt in body.get("attempts", ())
    )
    known["timeline"] = tuple(
        TimelineEntry(**_times(_known(TimelineEntry, entry))) for entry in body.get("timeline", ())
    )
    return Call(**_times(known), raw=body)


def read_pauses(body: dict[str, Any]) -> list[Pause]:
    """The pauses in force, from the list's JSON."""
    return [Pause(**_times(_known(Pause, item))) for item in body["items"]]


def _known(kind: type, body: Mapping[str, Any]) -> dict[str, Any]:
    # Fields that a newer API adds must not break an older client.
    names: Sequence[str] = kind.__slots__  # type: ignore[attr-defined]
    return {name: body[name] for name in names if name in body}


_TIMES = frozenset(
    {
        "at",
        "since",
        "not_before",
        "expires_at",
        "created_at",
        "updated_at",
        "submitted_at",
        "started_at",
        "ended_at",
        "unknown_since",
        "next_look_up_at",
    }
)


def _times(body: dict[str, Any]) -> dict[str, Any]:
    for name in _TIMES & body.keys():
        if body[name] is not None:
            body[name] = datetime.fromisoformat(body[name])
    return body

"""What an audit reads: the ledger as it is at one moment, a page at a time, and the warehouse.

Times in ms. Every method raises `Unavailable`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from outdial.core.call import AttemptStatus, CallStatus


@dataclass(frozen=True, slots=True)
class Stamp:
    """A row that the warehouse is to have: its version, the one loaded, and its digest.

    Activity events have one version, 1, and are loaded (1) or not (0).
    """

    id: str
    version: int
    loaded: int
    digest: str


@dataclass(frozen=True, slots=True)
class AuditedAttempt:
    """An attempt, as far as a rule asks for it.

    `heard_at`: when anything was last heard of it, or the provider last asked about it.
    `analysis_kept`: whether the inbox has the event that its details come from, if they do.
    """

    id: str
    number: int
    status: AttemptStatus
    retell_call_id: str | None
    line_open: bool
    lease_until: int | None
    heard_at: int
    disconnection_reason: str | None
    provisional: bool
    analysis_kept: bool
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class AuditedActivity:
    """An activity event; `event` is the CloudEvent as text. `waits`: neither sent nor parked."""

    id: str
    attempt_id: str | None
    attempt: int | None
    type: str
    sequence: int
    event: str
    waits: bool
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class AuditedCall:
    """A call with all that belongs to it. `held`: the stop that its dialing waits for, if any."""

    id: str
    status: CallStatus
    not_before: int | None
    expires_at: int | None
    due_at: int
    published_at: int | None
    held: str | None
    attempts: int
    sequence: int
    outbox_due_at: int | None
    stamp: Stamp
    tries: Sequence[AuditedAttempt]
    activity: Sequence[AuditedActivity]


@dataclass(frozen=True, slots=True)
class CallsAtOnce:
    """Calls in id order, all of one moment.

    `now`: the ledger's clock. `ahead`: published calls wait to be claimed, or no line is free, so
    that others wait for their turn.
    """

    now: int
    ahead: bool
    calls: Sequence[AuditedCall]


@dataclass(frozen=True, slots=True)
class AuditedEvent:
    """A provider event, with the attempt that it names or whose Retell call it is about.

    `intact`: its body is what was hashed as it came. `differs`: columns that its attempt, whose
    details come from it, has otherwise.
    """

    id: str
    event: str
    retell_call_id: str
    foreign: bool
    processed: bool
    received_at: int
    call_id: str | None
    attempt_id: str | None
    known: AuditedAttempt | None
    known_call_id: str | None
    intact: bool
    differs: Sequence[str]


@dataclass(frozen=True, slots=True)
class EventsAtOnce:
    """Provider events in id order, all of one moment."""

    now: int
    events: Sequence[AuditedEvent]


@dataclass(frozen=True, slots=True)
class RaisedAlarm:
    """What must never happen, and did."""

    kind: str
    call_id: str
    attempt_id: str
    retell_call_id: str | None


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is, for progress; `last_call` bounds the calls that an audit looks at.

    Calls up to `pruned_to` may have been removed from the ledger, and live on elsewhere.
    """

    deployment: str
    calls: int
    events: int
    last_call: str
    pruned_to: str = ""


class LedgerAudit(Protocol):
    """The ledger, to be judged. Each method reads one snapshot."""

    async def extent(self) -> Extent:
        """What there is now."""
        ...

    async def calls(self, after: str, last: str, limit: int) -> CallsAtOnce:
        """Up to `limit` calls with ids over `after`, up to `last`."""
        ...

    async def calls_by_id(self, call_ids: Collection[str]) -> CallsAtOnce:
        """These calls, as far as there are such."""
        ...

    async def events(self, after: str, limit: int) -> EventsAtOnce:
        """Up to `limit` provider events with ids over `after`."""
        ...

    async def attempts(
        self, attempt_ids: Collection[str]
    ) -> Mapping[str, tuple[str, AuditedAttempt]]:
        """Attempts by id, each with its call's id."""
        ...

    async def alarms(self, limit: int) -> list[RaisedAlarm]:
        """Alarms, oldest first."""
        ...


@dataclass(frozen=True, slots=True)
class WarehouseRow:
    """A row that the warehouse has; `kind` is its table."""

    kind: str
    call_id: str
    id: str
    version: int
    digest: str


class WarehouseAudit(Protocol):
    """The warehouse's rows, as digests."""

    async def between(self, after: str, last: str | None) -> Sequence[WarehouseRow]:
        """Rows of calls with ids over `after`, up to `last` (None: to the end)."""
        ...

    async def of_calls(self, call_ids: Collection[str]) -> Sequence[WarehouseRow]:
        """Rows of these calls."""
        ...

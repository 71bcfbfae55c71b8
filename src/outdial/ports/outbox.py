"""The ledger as the relay sees it: everything committed that has yet to leave the database.

No cursor over ids or times: what waits is marked as waiting. Every method raises `Unavailable`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class DueCall:
    """A call to publish to the call queue; `group` is its fairness group."""

    call_id: str
    group: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """The oldest undelivered activity event of a call this relay has leased.

    `event`: the CloudEvent, ready to be sent. `tries`: refusals so far; `waiting_since` in ms.
    """

    call_id: str
    lease_token: str
    event_id: str
    event: bytes
    tries: int
    waiting_since: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """The sink took it, or (`error`) did not: then `retry_ms` from now, or given up (`park`)."""

    delivery: Delivery
    error: str | None = None
    retry_ms: int = 0
    park: bool = False


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """An activity event that was given up, for `outdial dlq`."""

    event_id: str
    call_id: str
    type: str
    reason: str
    parked_at: int


Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows that the warehouse has not seen in this version, by warehouse table.

    Columns as `ports.warehouse` names them.
    """

    calls: Sequence[Row]
    attempts: Sequence[Row]
    activity: Sequence[Row]

    @property
    def count(self) -> int:
        """Rows in all."""
        return len(self.calls) + len(self.attempts) + len(self.activity)


class DueCalls(Protocol):
    """What has to go to the call queue."""

    async def promote(self, limit: int = 500) -> int:
        """Make scheduled calls queued whose time has come, and expire waiting ones; how many."""
        ...

    async def lease_due(self, ahead: int) -> list[DueCall]:
        """Mark due calls as published, as many as leave `ahead` unclaimed in all, and give them.

        Turns are taken between tenants and campaigns. Nothing while dialing is stopped. Includes
        calls whose attempt lost its worker.
        """
        ...

    async def unpublish(self, call_ids: Sequence[str]) -> None:
        """They could not be sent after all."""
        ...

    async def republish_old_hints(self, held: int) -> int:
        """What was published over the republish time ago is unclaimed, and the queue holds `held`.

        Where that is a hint for each published call, theirs are among them, and their time begins
        anew; else some were lost, and these calls are to be published again. How many.
        """
        ...

    async def republish_lost_hints(self, older_than_ms: int) -> int:
        """The queue is empty: what was published before has lost its hint. How many."""
        ...


class ActivityOutbox(Protocol):
    """What has to go to the activity sink."""

    async def lease_deliveries(self, limit: int, lease_seconds: float) -> list[Delivery]:
        """Lease calls with a due event; one event each, their oldest undelivered."""
        ...

    async def settle(self, results: Sequence[Delivered]) -> None:
        """Write what became of deliveries; a lease that has passed to another is ignored."""
        ...

    async def undeliverable(self, limit: int = 100) -> list[Undeliverable]:
        """Parked events, oldest first."""
        ...

    async def redrive(self, event_ids: Sequence[str] | None = None) -> int:
        """Try parked events again (all by default); how many."""
        ...


class WarehouseOutbox(Protocol):
    """What has to go to the warehouse."""

    async def changes(self, limit: int) -> Changes:
        """Up to `limit` rows of each kind that changed since they were loaded."""
        ...

    async def loaded(self, changes: Changes) -> None:
        """The warehouse has these versions."""
        ...

    async def forget_loaded(self) -> None:
        """Everything is to be loaded anew (`warehouse rebuild`)."""
        ...

    async def waiting(self) -> int:
        """Rows not loaded yet, for freshness."""
        ...

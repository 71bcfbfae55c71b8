"""The ledger as the webhook processor sees it: the inbox of provider events."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Incoming:
    """A webhook as it came: the raw body and its hash. `received_at` in ms.

    `source`: `webhook`, or `asked` where the reconciler learned it by asking.
    """

    body: bytes
    sha256: str
    received_at: int
    source: Literal["webhook", "asked"] = "webhook"


class Disposition(StrEnum):
    """What became of a provider event."""

    APPLIED = "applied"
    REPEATED = "repeated"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Taken:
    """How one event was processed; `alarm` is one raised by it."""

    disposition: Disposition
    call_id: str | None = None
    alarm: str | None = None


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A provider event from the inbox, for replay. `id` is its inbox key."""

    id: str
    retell_call_id: str
    event: str
    received_at: int
    call_id: str | None
    disposition: Disposition


class Inbox(Protocol):
    """Provider events: kept as they came, applied once. Raises `Unavailable`."""

    async def take(self, events: Sequence[Incoming]) -> list[Taken]:
        """Inbox rows, transitions and activity events of all of them in one commit.

        A body that no transaction can apply raises `Poison`; nothing of the batch is done then.
        """
        ...

    async def seen(self, retell_call_id: str, event: str, sha256: str) -> bool:
        """Whether this event is in the inbox and processed."""
        ...

    async def replay(self, event_ids: Sequence[str]) -> list[Taken]:
        """Apply stored events again, from their stored bodies, whatever `processed_at` says.

        Raises `Poison`, and applies none, where one of them can't be read as it came.
        """
        ...

    def stored(
        self,
        *,
        call_id: str | None = None,
        event: str | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> AsyncIterator[list[StoredEvent]]:
        """Stored events in the order they came, a page at a time. Filters are ANDed."""
        ...

"""What the relay's tests put in the place of the ledger and of time."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from outdial.errors import Unavailable
from outdial.ports.outbox import Delivered, Delivery, DueCall, Undeliverable

DAY_MS = 86_400_000


@dataclass
class ManualTime:
    """A clock that is moved by hand; both forms of it agree."""

    ms: int = 1_800_000_000_000

    def __call__(self) -> int:
        """Milliseconds since the epoch."""
        return self.ms

    def monotonic(self) -> float:
        """Seconds."""
        return self.ms / 1000


@dataclass
class FakeDueCalls:
    """Calls by what is to be done with them; `down` makes every method fail."""

    due: list[DueCall] = field(default_factory=list)
    scheduled: int = 0
    lost: int = 0
    down: bool = False
    unpublished: list[str] = field(default_factory=list)
    asked_ahead: list[int] = field(default_factory=list)
    asked_older_than: list[int] = field(default_factory=list)
    asked_held: list[int] = field(default_factory=list)

    def _answer(self) -> None:
        if self.down:
            raise Unavailable("database", "down")

    async def promote(self, limit: int = 500) -> int:
        """Promote what is scheduled."""
        self._answer()
        promoted, self.scheduled = self.scheduled, 0
        return promoted

    async def lease_due(self, ahead: int) -> list[DueCall]:
        """Give what is due."""
        self._answer()
        self.asked_ahead.append(ahead)
        due, self.due = self.due, []
        return due

    async def unpublish(self, call_ids: Sequence[str]) -> None:
        """Note it."""
        self._answer()
        self.unpublished += call_ids

    async def republish_old_hints(self, held: int) -> int:
        """Note the question; none is old."""
        self._answer()
        self.asked_held.append(held)
        return 0

    async def republish_lost_hints(self, older_than_ms: int) -> int:
        """Note the question."""
        self._answer()
        self.asked_older_than.append(older_than_ms)
        lost, self.lost = self.lost, 0
        return lost


@dataclass
class _Event:
    id: str
    recorded_at: int
    tries: int = 0
    parked: bool = False


class FakeOutbox:
    """Events by call, leased a call at a time; settled results in `settled`."""

    def __init__(self, clock: ManualTime) -> None:
        """`clock` stands for the database's."""
        self._clock = clock
        self._events: dict[str, list[_Event]] = defaultdict(list)
        self._due: dict[str, int] = {}
        self._tokens: dict[str, str] = {}
        self._leases = 0
        self.down = False
        self.settled: list[Delivered] = []
        self.asked: list[int] = []

    def add(self, call_id: str, *event_ids: str, recorded_at: int | None = None) -> None:
        """More events of a call."""
        at = self._clock() if recorded_at is None else recorded_at
        self._events[call_id] += [_Event(each, at) for each in event_ids]
        self._due.setdefault(call_id, self._clock())

    @property
    def waiting(self) -> list[str]:
        """Ids of what is neither delivered nor parked."""
        return [
            event.id for events in self._events.values() for event in events if not event.parked
        ]

    async def lease_deliveries(self, limit: int, lease_seconds: float) -> list[Delivery]:
        """See the port."""
        self._answer()
        self.asked.append(limit)
        now = self._clock()
        leased: list[Delivery] = []
        for call_id in sorted(self._events, key=lambda each: self._due[each]):
            events = [event for event in self._events[call_id] if not event.parked]
            if events and self._due[call_id] <= now and len(leased) < limit:
                self._leases += 1
                self._tokens[call_id] = token = f"t{self._leases}"
                self._due[call_id] = now + round(lease_seconds * 1000)
                first = events[0]
                body = f'{{"id":"{first.id}"}}'.encode()
                leased.append(
                    Delivery(call_id, token, first.id, body, first.tries, first.recorded_at)
                )
        return leased

    async def settle(self, results: Sequence[Delivered]) -> None:
        """See the port."""
        self._answer()
        self.settled += results
        for result in results:
            call_id = result.delivery.call_id
            if self._tokens.get(call_id) != result.delivery.lease_token:
                continue
            event = next(e for e in self._events[call_id] if e.id == result.delivery.event_id)
            event.tries += 1
            event.parked = result.park
            self._due[call_id] = self._clock() + result.retry_ms
            if result.error is None:
                self._events[call_id].remove(event)

    async def undeliverable(self, limit: int = 100) -> list[Undeliverable]:
        """Nobody asks in these tests."""
        return []

    async def redrive(self, event_ids: Sequence[str] | None = None) -> int:
        """Nobody asks in these tests."""
        return 0

    def _answer(self) -> None:
        if self.down:
            raise Unavailable("database", "down")

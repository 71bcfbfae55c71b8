"""Facts about how the relay publishes due calls."""

from collections.abc import Sequence

import pytest

from outdial.adapters.memory import MemoryQueue
from outdial.core.messages import CallHint, decode_call_hint
from outdial.errors import Unavailable
from outdial.ports.outbox import DueCall
from outdial.ports.queue import Outgoing
from outdial.relay.due_calls import Publishing, calls_ahead
from tests.unit.relay_fakes import FakeDueCalls, ManualTime


class Calls(MemoryQueue):
    """A call queue that keeps what was sent, and may be down after some sendings."""

    def __init__(self) -> None:
        """Up."""
        super().__init__("calls")
        self.sent: list[Outgoing] = []
        self.sendings_left = 1_000

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Take them, or be down."""
        if self.sendings_left == 0:
            raise Unavailable("call queue", "down")
        self.sendings_left -= 1
        await super().send(messages)
        self.sent += messages


@pytest.fixture
def time() -> ManualTime:
    """Stands still."""
    return ManualTime()


@pytest.fixture
def due() -> FakeDueCalls:
    """Nothing is due."""
    return FakeDueCalls()


@pytest.fixture
def queue() -> Calls:
    """Empty."""
    return Calls()


@pytest.fixture
def publishing(due: FakeDueCalls, queue: Calls, time: ManualTime) -> Publishing:
    """What is tested."""
    return Publishing(due, queue, ahead=180, monotonic=time.monotonic)


def some(count: int) -> list[DueCall]:
    """That many due calls."""
    return [DueCall(f"c{number}", "acme/nurses") for number in range(count)]


def test_three_minutes_of_dialing_ahead() -> None:
    """A slow dial rate still has a hundred calls ahead."""
    assert calls_ahead(50) == 9000
    assert calls_ahead(0.61) == 110
    assert calls_ahead(0.1) == 100


async def test_due_calls_are_sent_as_hints(
    publishing: Publishing, due: FakeDueCalls, queue: Calls
) -> None:
    """Each due call is one message with its fairness group, in the order given."""
    due.due = some(1200)
    assert await publishing.round() == 1200
    assert [decode_call_hint(each.body) for each in queue.sent] == [
        CallHint(f"c{number}") for number in range(1200)
    ]
    assert {each.group for each in queue.sent} == {"acme/nurses"}
    assert due.asked_ahead == [180]


async def test_promoted_calls_count_as_moved(publishing: Publishing, due: FakeDueCalls) -> None:
    """The stage goes on at once while scheduled calls come due."""
    due.scheduled = 500
    assert await publishing.round() == 500
    assert await publishing.round() == 0


async def test_what_the_queue_does_not_take_is_given_back(
    publishing: Publishing, due: FakeDueCalls, queue: Calls
) -> None:
    """The hints that were not surely stored are unpublished, those before them are not."""
    due.due = some(1200)
    queue.sendings_left = 1
    with pytest.raises(Unavailable, match="call queue"):
        await publishing.round()
    assert due.unpublished == [f"c{number}" for number in range(500, 1200)]


async def test_giving_back_is_made_up_for(
    publishing: Publishing, due: FakeDueCalls, queue: Calls
) -> None:
    """With queue and database down, they are given back, once, when the database answers."""

    class Both(FakeDueCalls):
        async def lease_due(self, ahead: int) -> list[DueCall]:
            leased = await super().lease_due(ahead)
            self.down = True
            return leased

    due = Both(due=some(2))
    publishing = Publishing(due, queue, ahead=100)
    queue.sendings_left = 0
    for _ in range(2):
        with pytest.raises(Unavailable, match="database"):
            await publishing.round()
    assert due.unpublished == []
    due.down = False
    await publishing.give_back()
    await publishing.give_back()
    assert due.unpublished == ["c0", "c1"]


async def test_an_empty_queue_proves_hints_lost(
    publishing: Publishing, due: FakeDueCalls, time: ManualTime
) -> None:
    """After two looks at an empty queue, calls published five seconds ago go out again."""
    for _ in range(4):
        await publishing.round()
        assert due.asked_older_than == []
        time.ms += 600
    time.ms += 2_500
    await publishing.round()
    assert due.asked_older_than == [5_000]


async def test_after_lost_hints_there_is_peace(
    publishing: Publishing, due: FakeDueCalls, time: ManualTime
) -> None:
    """A queue that counts late is not believed again for a minute."""
    due.lost = 3
    for _ in range(2):
        await publishing.round()
        time.ms += 2_500
    for _ in range(22):
        await publishing.round()
        time.ms += 2_500
    assert due.asked_older_than == [5_000]
    for _ in range(3):
        await publishing.round()
        time.ms += 2_500
    assert due.asked_older_than == [5_000, 5_000]


@pytest.mark.parametrize("state", ["visible", "in flight", "delayed"])
async def test_a_queue_with_anything_in_it_proves_nothing(
    publishing: Publishing, due: FakeDueCalls, queue: Calls, time: ManualTime, state: str
) -> None:
    """Messages that wait, are in hand or are delayed may be the hints in question."""
    await queue.send([Outgoing("{}", delay_seconds=900 if state == "delayed" else 0)])
    if state == "in flight":
        await queue.receive(visibility=900)
    for _ in range(5):
        await publishing.round()
        time.ms += 2_500
    assert due.asked_older_than == []


async def test_old_hints_are_held_against_the_queue(
    publishing: Publishing, due: FakeDueCalls, queue: Calls, time: ManualTime
) -> None:
    """The ledger is told how many the queue holds, in whatever state, at each look."""
    await queue.send([Outgoing("{}"), Outgoing("{}"), Outgoing("{}", delay_seconds=900)])
    await queue.receive(1, visibility=900)
    await publishing.round()
    await publishing.round()
    assert due.asked_held == [3]
    time.ms += 2_500
    await publishing.round()
    assert due.asked_held == [3, 3]


async def test_two_looks_in_a_row(
    publishing: Publishing, due: FakeDueCalls, queue: Calls, time: ManualTime
) -> None:
    """A queue that was empty, full and empty again has been empty once."""
    await publishing.round()
    time.ms += 2_500
    await queue.send([Outgoing("{}")])
    await publishing.round()
    time.ms += 2_500
    await queue.delete(await queue.receive())
    await publishing.round()
    assert due.asked_older_than == []

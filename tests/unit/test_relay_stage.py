"""Facts about the relay as a whole: its loops side by side, its end, its readiness."""

import asyncio

import pytest

from outdial.adapters.memory import MemoryQueue, MemorySink
from outdial.errors import Unavailable
from outdial.ports.outbox import DueCall
from outdial.relay import Relay
from outdial.relay.deliveries import DeliveryRules
from outdial.relay.rounds import Pace
from tests.unit.relay_fakes import FakeDueCalls, FakeOutbox, ManualTime

NEVER = 3600.0


class Place:
    """A relay with its neighbours, all in memory."""

    def __init__(self, *, with_sink: bool = True, most: float = NEVER) -> None:
        """Without a sink where none is configured."""
        self.time = ManualTime()
        self.due = FakeDueCalls()
        self.outbox = FakeOutbox(self.time)
        self.sink = MemorySink()
        self.queue = MemoryQueue("calls")
        self.relay = Relay(
            self.due,
            self.outbox,
            self.sink if with_sink else None,
            self.queue,
            ahead=100,
            publishing_pace=Pace(0, most),
            delivery_pace=Pace(0, most),
            delivery_rules=DeliveryRules(down_after=1),
            clock=self.time,
            monotonic=self.time.monotonic,
            draw=lambda: 1.0,
        )
        self.running = asyncio.create_task(self.relay.run())

    async def ended(self) -> None:
        """The relay ends when it is stopped."""
        self.relay.stop()
        async with asyncio.timeout(10):
            await self.running


async def turns() -> None:
    """Let every task go on as far as it can without time."""
    for _ in range(50):
        await asyncio.sleep(0.0005)


async def test_both_loops_run() -> None:
    """Due calls reach the queue and events the sink, each event of a call after the other."""
    place = Place(most=0.01)
    place.due.due = [DueCall("c1", "acme/")]
    place.outbox.add("a", "a1", "a2", "a3")
    await turns()
    assert (await place.queue.depth()).visible == 1
    assert [event_id for event_id, _ in place.sink.taken] == ["a1", "a2", "a3"]
    await place.ended()


async def test_without_a_sink_events_wait() -> None:
    """They are not leased at all, and due calls go out as ever."""
    place = Place(with_sink=False, most=0.01)
    place.due.due = [DueCall("c1", "acme/")]
    place.outbox.add("a", "a1")
    await turns()
    assert place.outbox.asked == []
    assert (await place.queue.depth()).visible == 1
    assert list(place.relay.checks) == ["due calls"]
    await place.ended()


async def test_one_loop_goes_on_without_the_other() -> None:
    """A call database that fails holds up no event; readiness names the loop in trouble."""
    place = Place(most=0.01)
    place.due.down = True
    place.outbox.add("a", "a1")
    await turns()
    assert place.outbox.waiting == []
    with pytest.raises(Unavailable, match="database"):
        await place.relay.checks["due calls"]()
    await place.relay.checks["activity events"]()
    await place.ended()


async def test_readiness_names_a_sink_that_is_down() -> None:
    """The loop itself is well."""
    place = Place(most=0.01)

    async def receive(event_id: str, event: bytes) -> None:
        raise Unavailable("activity sink", "HTTP 503")

    place.sink.receive = receive
    place.outbox.add("a", "a1")
    await turns()
    with pytest.raises(Unavailable, match="HTTP 503"):
        await place.relay.checks["sink"]()
    await place.relay.checks["activity events"]()
    await place.ended()


async def test_stopping_finishes_what_is_under_way() -> None:
    """A delivery that has begun is waited for and settled."""
    place = Place()
    gate = asyncio.Event()

    async def receive(event_id: str, event: bytes) -> None:
        await gate.wait()

    place.sink.receive = receive
    place.outbox.add("a", "a1", "a2")
    await turns()
    place.relay.stop()
    gate.set()
    await place.ended()
    assert place.outbox.waiting == ["a2"]


async def test_stopping_with_everything_down() -> None:
    """What cannot be written stays as it is; the relay ends all the same."""
    place = Place()
    place.outbox.add("a", "a1")
    await turns()
    place.due.down = place.outbox.down = True
    await place.ended()


async def test_cancelling_leaves_nothing_running() -> None:
    """A delivery under way ends with the relay."""
    place = Place()
    cancelled = asyncio.Event()

    async def receive(event_id: str, event: bytes) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    place.sink.receive = receive
    place.outbox.add("a", "a1")
    await turns()
    place.running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await place.running
    assert cancelled.is_set()


async def test_a_fault_in_one_loop_ends_the_relay() -> None:
    """So that whoever runs it sees that something is wrong."""
    place = Place()

    async def receive(event_id: str, event: bytes) -> None:
        raise ZeroDivisionError

    place.sink.receive = receive
    place.outbox.add("a", "a1")
    with pytest.raises(ExceptionGroup):
        async with asyncio.timeout(10):
            await place.running

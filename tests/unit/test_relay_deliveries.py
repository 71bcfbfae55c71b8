"""Facts about how the relay delivers activity events, on an outbox and a sink in memory."""

import asyncio

import pytest

from outdial.adapters.memory import MemorySink
from outdial.core.retry import Backoff
from outdial.errors import OutdialError, Poison, Retryable, Unavailable
from outdial.relay.deliveries import Delivering, DeliveryRules
from tests.unit.relay_fakes import DAY_MS, FakeOutbox, ManualTime

DOWN = Unavailable("activity sink", "HTTP 503")
RULES = DeliveryRules(
    at_once=4,
    backoff=Backoff(1.0, 300.0),
    down_after=3,
    give_up_tries=3,
    probing=Backoff(1.0, 4.0),
)


@pytest.fixture
def time() -> ManualTime:
    """Stands still."""
    return ManualTime()


@pytest.fixture
def outbox(time: ManualTime) -> FakeOutbox:
    """Empty."""
    return FakeOutbox(time)


@pytest.fixture
def sink() -> MemorySink:
    """Takes everything."""
    return MemorySink()


@pytest.fixture
def delivering(outbox: FakeOutbox, sink: MemorySink, time: ManualTime) -> Delivering:
    """What is tested; a failure waits the whole of its back-off."""
    return Delivering(
        outbox,
        sink,
        settled=lambda: None,
        rules=RULES,
        clock=time,
        monotonic=time.monotonic,
        draw=lambda: 1.0,
    )


async def turn() -> None:
    """Let every delivery that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def rounds(delivering: Delivering, count: int) -> None:
    """So many rounds, each delivery ended between two."""
    for _ in range(count):
        await delivering.round()
        await turn()


def failing(sink: MemorySink, *event_ids: str, error: OutdialError = DOWN) -> None:
    """The receiver raises `error` on these events, on all where none is named."""

    async def receive(event_id: str, event: bytes) -> None:
        if not event_ids or event_id in event_ids:
            raise error

    sink.receive = receive


def taken(sink: MemorySink) -> list[str]:
    """Ids of what the sink took."""
    return [event_id for event_id, _ in sink.taken]


async def test_events_arrive_in_order_within_a_call(
    delivering: Delivering, outbox: FakeOutbox, sink: MemorySink
) -> None:
    """Calls go side by side, a call's next event after the one before was settled."""
    outbox.add("a", "a1", "a2", "a3")
    outbox.add("b", "b1")
    await rounds(delivering, 4)
    assert taken(sink) == ["a1", "b1", "a2", "a3"]
    assert outbox.waiting == []
    assert sink.taken[0][1] == b'{"id":"a1"}'


async def test_a_round_tells_how_much_it_moved(delivering: Delivering, outbox: FakeOutbox) -> None:
    """What was begun and what was settled count; nothing to do is 0."""
    assert await delivering.round() == 0
    outbox.add("a", "a1")
    assert await delivering.round() == 1
    await turn()
    assert await delivering.round() == 1
    assert await delivering.round() == 0


async def test_the_stage_is_woken_when_a_delivery_ends(
    outbox: FakeOutbox, sink: MemorySink, time: ManualTime
) -> None:
    """So that the call's next event need not wait for the next look."""
    ended: list[str] = []
    delivering = Delivering(outbox, sink, settled=lambda: ended.append("x"), clock=time)
    outbox.add("a", "a1")
    await rounds(delivering, 1)
    assert ended == ["x"]


async def test_no_more_than_fits_is_under_way(
    delivering: Delivering, outbox: FakeOutbox, sink: MemorySink
) -> None:
    """A lease would run down while its delivery waited its turn."""
    gate = asyncio.Event()

    async def receive(event_id: str, event: bytes) -> None:
        await gate.wait()

    sink.receive = receive
    for number in range(6):
        outbox.add(f"c{number}", f"e{number}")
    await rounds(delivering, 3)
    assert outbox.asked == [4]
    gate.set()
    await rounds(delivering, 3)
    assert len(taken(sink)) == 6


async def test_one_slow_call_holds_up_no_other(
    delivering: Delivering, outbox: FakeOutbox, sink: MemorySink
) -> None:
    """The others' events, and their next ones, go on while one delivery hangs."""
    gate = asyncio.Event()

    async def receive(event_id: str, event: bytes) -> None:
        if event_id == "slow1":
            await gate.wait()

    sink.receive = receive
    outbox.add("slow", "slow1", "slow2")
    outbox.add("a", "a1", "a2", "a3")
    await rounds(delivering, 5)
    assert taken(sink) == ["a1", "a2", "a3"]
    gate.set()
    await rounds(delivering, 3)
    assert taken(sink)[3:] == ["slow1", "slow2"]


async def test_failures_back_off_by_call(
    delivering: Delivering, outbox: FakeOutbox, sink: MemorySink, time: ManualTime
) -> None:
    """1, 2, 4 … seconds, up to five minutes; other calls go on; the cause is kept."""
    failing(sink, "a1")
    outbox.add("a", "a1", "a2")
    delays: list[int] = []
    for number in range(11):
        outbox.add("b", f"b{number}")
        await rounds(delivering, 2)
        failed = [each for each in outbox.settled if each.error]
        assert len(failed) == number + 1
        assert failed[-1].error == "activity sink unavailable: HTTP 503"
        delays.append(failed[-1].retry_ms)
        time.ms += failed[-1].retry_ms
    assert delays == [1000 * min(2**number, 300) for number in range(11)]
    assert taken(sink) == [f"b{number}" for number in range(11)]


async def test_a_failed_event_is_sent_again_before_the_next(
    delivering: Delivering, outbox: FakeOutbox, sink: MemorySink, time: ManualTime
) -> None:
    """A refusal keeps the call's order, whatever its class."""
    failing(sink, "a1", error=Poison("HTTP 422"))
    outbox.add("a", "a1", "a2")
    await rounds(delivering, 3)
    assert taken(sink) == []
    failing(sink, "none")
    time.ms += 1_000
    await rounds(delivering, 3)
    assert taken(sink) == ["a1", "a2"]


async def test_a_delivery_that_hangs_is_ended(
    outbox: FakeOutbox, sink: MemorySink, time: ManualTime
) -> None:
    """In half its lease, so that no other relay has begun with the call by then."""

    async def receive(event_id: str, event: bytes) -> None:
        await asyncio.Event().wait()

    sink.receive = receive
    ended = asyncio.Event()
    delivering = Delivering(
        outbox, sink, settled=ended.set, rules=DeliveryRules(lease=0.02), clock=time
    )
    outbox.add("a", "a1")
    await delivering.round()
    async with asyncio.timeout(10):
        await ended.wait()
    await delivering.round()
    assert [each.error for each in outbox.settled] == ["activity sink unavailable: no answer"]


@pytest.mark.parametrize("error", [DOWN, Poison("HTTP 422"), Retryable("busy")])
async def test_what_is_refused_for_three_days_is_parked(
    delivering: Delivering,
    outbox: FakeOutbox,
    sink: MemorySink,
    time: ManualTime,
    error: OutdialError,
) -> None:
    """It is given up with its cause, and the call's later events go on."""
    failing(sink, "a1", error=error)
    outbox.add("a", "a1", "a2")
    parked_after = None
    for hour in range(3 * 24 + 2):
        await rounds(delivering, 2)
        if any(each.park for each in outbox.settled):
            parked_after = hour
            break
        time.ms += DAY_MS // 24
    assert parked_after == 72
    assert outbox.settled[-1].park
    await rounds(delivering, 2)
    assert taken(sink) == ["a2"]
    assert outbox.waiting == []


async def test_an_old_event_is_tried_often_enough(
    delivering: Delivering, outbox: FakeOutbox, sink: MemorySink, time: ManualTime
) -> None:
    """One that waited three days behind another is not given up at its first refusal."""
    failing(sink, "a1", error=Poison("HTTP 422"))
    outbox.add("a", "a1", recorded_at=time() - 4 * DAY_MS)
    for _ in range(3):
        await rounds(delivering, 2)
        time.ms += 300_000
    assert [each.park for each in outbox.settled] == [False, False, True]


async def test_nothing_is_parked_while_the_sink_is_down(
    delivering: Delivering, outbox: FakeOutbox, sink: MemorySink, time: ManualTime
) -> None:
    """A week without a sink loses nothing: when it is back, everything arrives in order."""
    failing(sink)
    for name in "abcdef":
        outbox.add(name, f"{name}1", f"{name}2")
    for _ in range(7 * 24):
        await rounds(delivering, 2)
        time.ms += DAY_MS // 24
    assert not any(each.park for each in outbox.settled)
    failing(sink, "none")
    await rounds(delivering, 10)
    assert sorted(taken(sink)) == sorted(f"{name}{n}" for name in "abcdef" for n in (1, 2))
    assert all(taken(sink).index(f"{n}1") < taken(sink).index(f"{n}2") for n in "abcdef")


async def test_a_sink_that_is_down_is_asked_by_one_delivery(
    delivering: Delivering, outbox: FakeOutbox, sink: MemorySink, time: ManualTime
) -> None:
    """After enough calls failed, single probes follow; readiness names the cause until one wins."""
    await delivering.check()
    failing(sink)
    for number in range(20):
        outbox.add(f"c{number}", f"e{number}")
    await rounds(delivering, 5)
    assert outbox.asked == [4]
    with pytest.raises(Unavailable, match="HTTP 503"):
        await delivering.check()
    time.ms += 1_000
    await rounds(delivering, 5)
    assert outbox.asked == [4, 1]
    failing(sink, "none")
    time.ms += 2_000
    await rounds(delivering, 2)
    assert outbox.asked[:3] == [4, 1, 1]
    assert outbox.asked[3] == 4
    await delivering.check()


async def test_refusals_do_not_mean_that_the_sink_is_down(
    delivering: Delivering, outbox: FakeOutbox, sink: MemorySink
) -> None:
    """A receiver that refuses event after event is there."""
    failing(sink, error=Poison("HTTP 422"))
    for number in range(8):
        outbox.add(f"c{number}", f"e{number}")
    await rounds(delivering, 3)
    assert len(outbox.settled) == 8
    await delivering.check()


async def test_results_outlast_a_ledger_that_is_down(
    delivering: Delivering, outbox: FakeOutbox, sink: MemorySink
) -> None:
    """What was taken is settled once the ledger answers; nothing new is begun before."""
    outbox.add("a", "a1", "a2")
    await rounds(delivering, 1)
    outbox.down = True
    for _ in range(3):
        with pytest.raises(Unavailable, match="database"):
            await delivering.round()
    outbox.down = False
    await rounds(delivering, 2)
    assert taken(sink) == ["a1", "a2"]


async def test_a_crash_between_taking_and_settling(
    delivering: Delivering, outbox: FakeOutbox, sink: MemorySink, time: ManualTime
) -> None:
    """After its lease the event is sent again, under the same id, before the next one."""
    outbox.add("a", "a1", "a2")
    await rounds(delivering, 1)
    await delivering.abandon()
    successor = Delivering(outbox, sink, settled=lambda: None, clock=time)
    await rounds(successor, 1)
    assert taken(sink) == ["a1"]
    time.ms += 30_000
    await rounds(successor, 3)
    assert taken(sink) == ["a1", "a1", "a2"]
    await rounds(delivering, 1)
    assert outbox.waiting == []


async def test_finishing_waits_for_what_is_under_way(
    delivering: Delivering, outbox: FakeOutbox, sink: MemorySink
) -> None:
    """A delivery that ends in the grace is settled."""
    outbox.add("a", "a1")
    await delivering.round()
    await delivering.finish(10)
    assert outbox.waiting == []


async def test_abandoning_lets_go(
    delivering: Delivering, outbox: FakeOutbox, sink: MemorySink
) -> None:
    """A delivery that hangs is cancelled and stays leased."""
    cancelled: list[str] = []

    async def receive(event_id: str, event: bytes) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(event_id)
            raise

    sink.receive = receive
    outbox.add("a", "a1")
    await rounds(delivering, 1)
    await delivering.finish(0)
    assert outbox.settled == []
    await delivering.abandon()
    assert cancelled == ["a1"]
    assert outbox.waiting == ["a1"]


async def test_a_fault_of_ours_is_not_swallowed(
    delivering: Delivering, outbox: FakeOutbox, sink: MemorySink
) -> None:
    """What no port may raise ends the round, rather than being taken for a refusal."""

    async def receive(event_id: str, event: bytes) -> None:
        raise ZeroDivisionError

    sink.receive = receive
    outbox.add("a", "a1")
    await rounds(delivering, 1)
    with pytest.raises(ZeroDivisionError):
        await delivering.round()

"""What every queue adapter promises, run on each of them."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outdial.ports.queue import MAX_MESSAGE_BYTES, Outgoing, Queue, Received
from tests.contract import queues


@pytest.fixture(params=queues.ALL, ids=lambda adapter: adapter.__name__)
async def maker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[queues.QueueMaker]:
    """Each adapter in turn."""
    adapter: queues.Queues = request.param
    async with adapter(tmp_path) as made:
        yield made


@pytest.fixture
async def queue(maker: queues.QueueMaker) -> AsyncIterator[Queue]:
    """A queue with the default settings."""
    made = maker.make()
    yield made
    await made.close()


async def send(queue: Queue, *bodies: str) -> None:
    """Send messages of no group."""
    await queue.send([Outgoing(body) for body in bodies])


async def receive_one(queue: Queue) -> Received:
    """The one message that is visible."""
    (message,) = await queue.receive()
    return message


async def test_gives_what_was_sent(queue: Queue) -> None:
    """A message comes with its body, a first receive count and an id."""
    await send(queue, "hello")
    message = await receive_one(queue)
    assert (message.body, message.receive_count) == ("hello", 1)
    assert message.id
    assert message.sent_at > 1_500_000_000_000


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(bodies=st.lists(st.text(max_size=50), min_size=1, max_size=15))
def test_gives_any_text_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[str]
) -> None:
    """Bodies of any Unicode text come back as they were, each once."""

    async def round_trip(adapter: queues.Queues) -> None:
        async with adapter(tmp_path_factory.mktemp("queue")) as maker:
            queue = maker.make()
            await send(queue, *bodies)
            received = await queue.receive(100)
            assert sorted(each.body for each in received) == sorted(bodies)

    for adapter in queues.ALL:
        asyncio.run(round_trip(adapter))


async def test_gives_at_most_the_limit(queue: Queue) -> None:
    """A receive gives no more than it is asked for, ten by default, more when asked."""
    await send(queue, *map(str, range(40)))
    assert len(await queue.receive(3)) == 3
    assert len(await queue.receive()) == 10
    assert len(await queue.receive(100)) == 27


async def test_gives_nothing_for_a_limit_of_nothing(queue: Queue) -> None:
    """A receive of no messages takes none."""
    await send(queue, "a")
    assert await queue.receive(0) == []
    assert (await queue.depth()).visible == 1


async def test_keeps_queues_apart(maker: queues.QueueMaker) -> None:
    """What is sent to one queue is not seen in another."""
    calls, events = maker.make("calls"), maker.make("events")
    await send(calls, "a")
    assert await events.receive() == []
    assert [each.body for each in await calls.receive()] == ["a"]


async def test_hides_a_received_message_until_its_timeout(maker: queues.QueueMaker) -> None:
    """A message received and not deleted comes back after the visibility timeout, counted."""
    queue = maker.make(visibility=2)
    await send(queue, "a")
    await receive_one(queue)
    await maker.advance(1.5)
    assert await queue.receive() == []
    await maker.advance(0.6)
    assert (await receive_one(queue)).receive_count == 2


async def test_takes_the_visibility_of_the_receive(maker: queues.QueueMaker) -> None:
    """A receive may set its own visibility timeout."""
    queue = maker.make(visibility=30)
    await send(queue, "a")
    await queue.receive(visibility=1)
    await maker.advance(1.1)
    assert len(await queue.receive()) == 1


async def test_forgets_what_is_deleted(maker: queues.QueueMaker) -> None:
    """A deleted message never comes back."""
    queue = maker.make(visibility=1)
    await send(queue, "a", "b")
    await queue.delete(await queue.receive())
    await maker.advance(1.1)
    assert await queue.receive() == []


async def test_deletes_twice_without_complaint(queue: Queue) -> None:
    """Deleting a message again, or one that never was, is passed over."""
    await send(queue, "a")
    message = await receive_one(queue)
    await queue.delete([message, message])
    await queue.delete([message])
    await queue.delete([])


async def test_ignores_the_receipt_of_an_earlier_receive(maker: queues.QueueMaker) -> None:
    """Once a message was received again, the first receipt neither deletes nor moves it."""
    queue = maker.make(visibility=1)
    await send(queue, "a")
    first = await receive_one(queue)
    await maker.advance(1.1)
    second = await receive_one(queue)
    await queue.delete([first])
    await queue.change_visibility([first], 0)
    assert await queue.receive() == []
    await queue.change_visibility([second], 0)
    assert (await receive_one(queue)).receive_count == 3


async def test_makes_a_message_visible_at_once(queue: Queue) -> None:
    """A visibility of nothing gives the message back."""
    await send(queue, "a")
    await queue.change_visibility([await receive_one(queue)], 0)
    assert (await receive_one(queue)).receive_count == 2


async def test_prolongs_the_visibility(maker: queues.QueueMaker) -> None:
    """A message whose visibility is renewed stays hidden, and its receipt still holds."""
    queue = maker.make(visibility=2)
    await send(queue, "a")
    message = await receive_one(queue)
    await maker.advance(1)
    await queue.change_visibility([message], 3)
    await maker.advance(1.5)
    assert await queue.receive() == []
    await queue.delete([message])
    await maker.advance(3)
    assert await queue.receive() == []


async def test_holds_a_delayed_message_back(maker: queues.QueueMaker) -> None:
    """A delayed message is counted as such and seen only after its delay."""
    queue = maker.make()
    await queue.send([Outgoing("a", delay_seconds=2)])
    assert await queue.receive() == []
    assert (await queue.depth()).delayed == 1
    await maker.advance(2.1)
    assert (await receive_one(queue)).body == "a"


async def test_refuses_a_message_over_the_limit(queue: Queue) -> None:
    """A body over the limit is the caller's error, and nothing of that send is stored."""
    with pytest.raises(ValueError, match="over the limit"):
        await send(queue, "a", "é" * (MAX_MESSAGE_BYTES // 2 + 1))
    assert await queue.receive() == []


async def test_takes_a_message_of_the_limit(queue: Queue) -> None:
    """A body of exactly the limit goes through."""
    await send(queue, "x" * MAX_MESSAGE_BYTES)
    assert len((await receive_one(queue)).body) == MAX_MESSAGE_BYTES


async def test_refuses_times_that_no_queue_takes(queue: Queue) -> None:
    """Delays over 15 minutes and visibility timeouts over 12 hours are the caller's error."""
    with pytest.raises(ValueError, match="delay"):
        await queue.send([Outgoing("a", delay_seconds=901)])
    with pytest.raises(ValueError, match="visibility"):
        await queue.receive(visibility=43_201)
    await send(queue, "a")
    with pytest.raises(ValueError, match="visibility"):
        await queue.change_visibility([await receive_one(queue)], -1)


async def test_sends_nothing_for_no_messages(queue: Queue) -> None:
    """An empty send is no error."""
    await queue.send([])
    assert await queue.receive() == []


async def test_sends_more_than_a_batch(queue: Queue) -> None:
    """A send may hold any number of messages."""
    await send(queue, *map(str, range(25)))
    assert (await queue.depth()).visible == 25


async def test_moves_poison_with_its_reason(queue: Queue) -> None:
    """A dead-lettered message keeps body, count, reason and stage and is received no more."""
    await send(queue, "bad")
    message = await receive_one(queue)
    await queue.dead_letter(message, "no such call", "call_processor")
    (dead,) = await queue.dead_letters()
    assert (dead.body, dead.reason, dead.stage, dead.receive_count) == (
        "bad",
        "no such call",
        "call_processor",
        1,
    )
    assert dead.sent_at <= dead.dead_at
    depth = await queue.depth()
    assert (depth.visible, depth.in_flight, depth.dead) == (0, 0, 1)


async def test_moves_a_message_received_too_often(maker: queues.QueueMaker) -> None:
    """After the greatest number of receives a message goes to the dead letters by itself."""
    queue = maker.make(visibility=1, max_receives=3)
    await send(queue, "again")
    for count in range(1, 4):
        assert (await receive_one(queue)).receive_count == count
        await maker.advance(1.1)
    assert await queue.receive() == []
    (dead,) = await queue.dead_letters()
    assert (dead.body, dead.receive_count) == ("again", 3)
    assert "3 times" in dead.reason


async def test_gives_the_next_message_after_one_received_too_often(
    maker: queues.QueueMaker,
) -> None:
    """A message that is moved away does not make the receive come back empty."""
    queue = maker.make(visibility=1, max_receives=1)
    await send(queue, "old")
    await receive_one(queue)
    await maker.advance(1.1)
    await send(queue, "new")
    received = await queue.receive(1, wait=2)
    assert [each.body for each in received] == ["new"]


async def test_shows_dead_letters_without_taking_them(queue: Queue) -> None:
    """Looking at dead letters, oldest first, leaves them where they are."""
    await send(queue, "a", "b", "c")
    for message in sorted(await queue.receive(), key=lambda each: each.body):
        await queue.dead_letter(message, "bad", "stage")
    for _ in range(2):
        assert [each.body for each in await queue.dead_letters(2)] == ["a", "b"]


async def test_redrives_all(queue: Queue) -> None:
    """Redriven dead letters come back as new messages."""
    await send(queue, "a", "b")
    for message in await queue.receive():
        await queue.dead_letter(message, "bad", "stage")
    assert await queue.redrive() == 2
    again = await queue.receive()
    assert sorted((each.body, each.receive_count) for each in again) == [("a", 1), ("b", 1)]
    assert await queue.dead_letters() == []


async def test_redrives_the_chosen(queue: Queue) -> None:
    """Only the dead letters that are named go back; unknown names are passed over."""
    await send(queue, "a", "b")
    for message in await queue.receive():
        await queue.dead_letter(message, "bad", "stage")
    chosen = next(each for each in await queue.dead_letters() if each.body == "b")
    assert await queue.redrive([chosen.id, "unknown", "999999", "9" * 40]) == 1
    assert [each.body for each in await queue.receive()] == ["b"]
    assert [each.body for each in await queue.dead_letters()] == ["a"]


async def test_tells_its_depth(queue: Queue) -> None:
    """Visible, in flight, delayed and dead messages are counted apart."""
    await queue.send([Outgoing("a"), Outgoing("b"), Outgoing("c"), Outgoing("d", delay_seconds=9)])
    first, _ = await queue.receive(2)
    await queue.dead_letter(first, "bad", "stage")
    depth = await queue.depth()
    assert (depth.visible, depth.in_flight, depth.delayed, depth.dead) == (1, 1, 1, 1)


async def test_wakes_a_waiting_receive(queue: Queue) -> None:
    """A receive that waits gets what is sent meanwhile."""
    waiting = asyncio.create_task(queue.receive(wait=20))
    await asyncio.sleep(0)
    await send(queue, "a")
    async with asyncio.timeout(5):
        assert [each.body for each in await waiting] == ["a"]


async def test_wakes_a_waiting_receive_for_what_is_given_back(queue: Queue) -> None:
    """A receive that waits gets a message that another consumer gives back."""
    await send(queue, "a")
    message = await receive_one(queue)
    waiting = asyncio.create_task(queue.receive(wait=20))
    await asyncio.sleep(0)
    await queue.change_visibility([message], 0)
    async with asyncio.timeout(5):
        assert (await waiting)[0].receive_count == 2


async def test_wakes_a_waiting_receive_when_a_message_falls_due(maker: queues.QueueMaker) -> None:
    """A receive that waits gets a message whose delay ends meanwhile."""
    queue = maker.make()
    await queue.send([Outgoing("a", delay_seconds=2)])
    waiting = asyncio.create_task(queue.receive(wait=20))
    await asyncio.sleep(0)
    await maker.advance(2.1)
    async with asyncio.timeout(5):
        assert len(await waiting) == 1


async def test_waits_no_longer_than_asked(queue: Queue) -> None:
    """A receive gives up, empty, after its wait."""
    async with asyncio.timeout(5):
        assert await queue.receive(wait=0.05) == []


async def test_gives_each_message_to_one_of_many(queue: Queue) -> None:
    """Concurrent receivers never share a message."""
    receivers = [asyncio.create_task(queue.receive(1, wait=5)) for _ in range(20)]
    await asyncio.sleep(0)
    await send(queue, *map(str, range(20)))
    async with asyncio.timeout(10):
        received = [each.body for batch in await asyncio.gather(*receivers) for each in batch]
    assert sorted(received, key=int) == [str(number) for number in range(20)]


async def test_loses_nothing_to_a_cancelled_receive(maker: queues.QueueMaker) -> None:
    """A message goes on to others when the receive that waited for it is cancelled."""
    queue = maker.make(visibility=1)
    waiting = asyncio.create_task(queue.receive(wait=20))
    await asyncio.sleep(0)
    waiting.cancel()
    await send(queue, "a")
    await maker.advance(1.1)
    assert len(await queue.receive(wait=5)) == 1


async def test_ends_the_wait_when_it_is_closed(maker: queues.QueueMaker) -> None:
    """Closing answers a waiting receive at once, empty."""
    queue = maker.make()
    waiting = asyncio.create_task(queue.receive(wait=20))
    await asyncio.sleep(0)
    await queue.close()
    async with asyncio.timeout(5):
        assert await waiting == []
    assert await queue.receive(wait=20) == []


async def test_takes_a_reason_that_is_no_text(queue: Queue) -> None:
    """A reason that quotes half a surrogate pair still takes its message away."""
    await send(queue, "a")
    await queue.dead_letter(await receive_one(queue), "bad \ud800", "stage")
    (dead,) = await queue.dead_letters()
    assert dead.reason.startswith("bad")


async def test_passes_over_receipts_that_are_not_its_own(queue: Queue) -> None:
    """A receipt of another make is ignored like a stale one."""
    await send(queue, "a")
    message = await receive_one(queue)
    for receipt in ("", "x.y", "9" * 40 + ".1", "1", "1.2.3"):
        strange = dataclasses.replace(message, receipt=receipt)
        await queue.delete([strange])
        await queue.change_visibility([strange], 0)
        await queue.dead_letter(strange, "bad", "stage")
    assert (await queue.depth()).in_flight == 1


async def test_tells_its_name(maker: queues.QueueMaker) -> None:
    """A queue knows what it is called."""
    assert maker.make("events").name == "events"

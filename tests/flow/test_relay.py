"""The relay on a real ledger, SQLite and PostgreSQL, with real HTTP receivers."""

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from outdial.adapters.database import Ledger
from outdial.adapters.memory import MemoryQueue, MemorySink
from outdial.adapters.sinks.http import HttpSink
from outdial.core.messages import decode_call_hint
from outdial.core.retry import Backoff
from outdial.errors import Poison, Unavailable
from outdial.ports.queue import Queue
from outdial.ports.sink import ActivitySink
from outdial.relay import Relay
from outdial.relay.deliveries import DeliveryRules
from outdial.relay.rounds import Pace
from tests.contract.receivers import HttpReceiver, http_receiver
from tests.flow.relay_ledger import TYPES, accept, complete, open_ledger

HOUR_MS = 3_600_000
QUICK = DeliveryRules(backoff=Backoff(0.01, 0.02), probing=Backoff(0.01, 0.02))


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    """Empty."""
    async with open_ledger(database_url) as opened:
        yield opened


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    """A receiver that is listening."""
    async with http_receiver() as listening:
        yield listening


@asynccontextmanager
async def relaying(
    ledger: Ledger,
    sink: ActivitySink | None,
    queue: Queue | None = None,
    rules: DeliveryRules | None = None,
) -> AsyncIterator[Relay]:
    """A relay that looks often, and whose clocks go with the ledger's."""
    relay = Relay(
        ledger.due_calls,
        ledger.activity,
        sink,
        queue or MemoryQueue("calls"),
        ahead=100,
        publishing_pace=Pace(0.01, 0.02),
        delivery_pace=Pace(0.01, 0.02),
        delivery_rules=rules,
        clock=lambda: time.time_ns() // 1_000_000 + ledger.clock.ahead,
        monotonic=lambda: time.monotonic() + ledger.clock.ahead / 1000,
    )
    running = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        relay.stop()
        await running


async def until(true: Callable[[], bool]) -> None:
    """Wait for it, with a deadline that only a broken relay reaches."""
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - what is waited for lies in several parts
            await asyncio.sleep(0.01)


def told(events: list[bytes]) -> dict[str, list[tuple[str, int, str]]]:
    """By call, in the order they came: id, sequence and type."""
    calls: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
    for event in events:
        decoded: dict[str, Any] = json.loads(event)
        calls[decoded["subject"]].append(
            (decoded["id"], decoded["data"]["sequence"], decoded["type"])
        )
    return calls


def assert_told_once_in_order(events: list[bytes], call_ids: list[str]) -> None:
    """Each call's three events, each once, in their order."""
    calls = told(events)
    assert sorted(calls) == sorted(call_ids)
    for entries in calls.values():
        assert [(sequence, kind) for _, sequence, kind in entries] == list(enumerate(TYPES, 1))
        assert len({event_id for event_id, _, _ in entries}) == 3


async def test_everything_is_told_once_and_in_order(ledger: Ledger, receiver: HttpReceiver) -> None:
    """Also what is committed while the relay runs."""
    sink = HttpSink(receiver.url)
    first = await accept(ledger, 20)
    await complete(ledger, first)
    async with relaying(ledger, sink):
        second = await accept(ledger, 20)
        await complete(ledger, second)
        await until(lambda: len(receiver.requests) >= 120)
    await sink.close()
    assert_told_once_in_order([each.body for each in receiver.requests], first + second)
    assert await ledger.activity.lease_deliveries(10, 1) == []


async def test_a_sink_that_is_down_for_an_hour(ledger: Ledger, receiver: HttpReceiver) -> None:
    """Nothing is lost, order holds, and it was asked little meanwhile."""
    receiver.status = 503
    sink = HttpSink(receiver.url)
    call_ids = await accept(ledger, 100)
    await complete(ledger, call_ids)
    async with relaying(ledger, sink) as relay:
        for _ in range(12):
            asked_again = partial(
                lambda seen: len(receiver.requests) > seen, len(receiver.requests)
            )
            ledger.clock.ahead += HOUR_MS // 12
            await until(asked_again)
        with pytest.raises(Unavailable, match="HTTP 503"):
            await relay.checks["sink"]()
        # What was under way when it went down, and a probe or two in each five minutes.
        assert len(receiver.requests) < 100
        refused = len(receiver.requests)
        receiver.status = 204
        # On a slow machine the clock leaps over a lease: such an event rightly comes again.
        taken: dict[bytes, None] = {}
        async with asyncio.timeout(60):
            while len(taken) < 300:
                ledger.clock.ahead += 10_000
                await asyncio.sleep(0.02)
                taken = dict.fromkeys(each.body for each in receiver.requests[refused:])
    await sink.close()
    assert_told_once_in_order(list(taken), call_ids)
    # What was refused are first events, none of a call whose first had not been taken.
    assert {json.loads(each.body)["data"]["sequence"] for each in receiver.requests[:refused]} == {
        1
    }


async def test_two_relays_at_once(ledger: Ledger) -> None:
    """They share the work; a receiver that fails at random still sees order and no repetition."""
    chance = random.Random(7)  # noqa: S311 - which deliveries fail, reproducibly
    sink = MemorySink()

    async def receive(event_id: str, event: bytes) -> None:
        await asyncio.sleep(chance.random() / 500)
        if chance.random() < 0.2:
            raise chance.choice([Unavailable("activity sink", "HTTP 500"), Poison("HTTP 422")])

    sink.receive = receive
    call_ids = await accept(ledger, 60)
    async with relaying(ledger, sink, rules=QUICK), relaying(ledger, sink, rules=QUICK):
        await complete(ledger, call_ids)
        await until(lambda: len(sink.taken) >= 180)
    assert_told_once_in_order([event for _, event in sink.taken], call_ids)


async def test_a_relay_that_dies_between_taking_and_settling(ledger: Ledger) -> None:
    """What it had sent is sent again after its lease, under the same id and before the next."""
    sink = MemorySink()
    call_ids = await accept(ledger, 5)
    await complete(ledger, call_ids)
    for delivery in await ledger.activity.lease_deliveries(3, 30):
        await sink.deliver(delivery.event_id, delivery.event)
    async with relaying(ledger, sink):
        await until(lambda: len(sink.taken) >= 3 + 2 * 3)
        ledger.clock.ahead += 30_000
        await until(lambda: len(sink.taken) >= 3 + 5 * 3)
    counts = Counter(event_id for event_id, _ in sink.taken)
    assert sorted(counts.values()) == [1] * 12 + [2] * 3
    assert_told_once_in_order(list(dict(sink.taken).values()), call_ids)


async def test_an_undeliverable_event_is_parked_and_redriven(ledger: Ledger) -> None:
    """After three days it stands aside; when a person redrives it, it is delivered."""
    refusing = True
    sink = MemorySink()

    async def receive(event_id: str, event: bytes) -> None:
        if refusing and json.loads(event)["type"] == TYPES[0]:
            raise Poison("the activity sink refuses it: HTTP 422")

    sink.receive = receive
    (call_id,) = await accept(ledger, 1)
    await complete(ledger, [call_id])
    async with relaying(ledger, sink):
        async with asyncio.timeout(60):
            while len(sink.taken) < 2:
                ledger.clock.ahead += HOUR_MS
                await asyncio.sleep(0.02)
        (parked,) = await ledger.activity.undeliverable()
        assert (parked.call_id, parked.type) == (call_id, TYPES[0])
        assert parked.reason == "the activity sink refuses it: HTTP 422"
        refusing = False
        assert await ledger.activity.redrive([parked.event_id]) == 1
        await until(lambda: len(sink.taken) >= 3)
    assert [json.loads(event)["type"] for _, event in sink.taken] == [*TYPES[1:], TYPES[0]]
    assert await ledger.activity.undeliverable() == []


async def received(queue: Queue) -> list[str]:
    """Call ids of the hints in the queue."""
    return [decode_call_hint(each.body).call_id for each in await queue.receive(1000)]


async def test_due_calls_are_published_once(ledger: Ledger) -> None:
    """By two relays together, no more than is to be ahead, the rest as calls are claimed."""
    queue = MemoryQueue("calls")
    call_ids = await accept(ledger, 130)
    seen: list[str] = []
    async with relaying(ledger, None, queue), relaying(ledger, None, queue):
        async with asyncio.timeout(60):
            while len(seen) < 130:
                assert (await queue.depth()).visible <= 100
                messages = await received(queue)
                seen += messages
                await complete(ledger, messages)
                await asyncio.sleep(0.01)
    assert sorted(seen) == sorted(call_ids)


async def test_hints_that_a_crash_lost_are_sent_again(ledger: Ledger) -> None:
    """An empty queue and calls published before prove it; no call waits ten minutes."""
    queue = MemoryQueue("calls")
    call_ids = await accept(ledger, 10)
    assert len(await ledger.due_calls.lease_due(100)) == 10
    async with relaying(ledger, None, queue):
        async with asyncio.timeout(60):
            while not (await queue.depth()).visible:
                ledger.clock.ahead += 3_000
                await asyncio.sleep(0.03)
    assert sorted(await received(queue)) == sorted(call_ids)


async def test_a_queue_that_is_down(ledger: Ledger) -> None:
    """Calls wait in the database, and go out when the queue is back."""

    class Calls(MemoryQueue):
        down = True

        async def send(self, messages: Any) -> None:
            if self.down:
                raise Unavailable("call queue", "down")
            await super().send(messages)

    queue = Calls("calls")
    call_ids = await accept(ledger, 10)
    async with relaying(ledger, None, queue) as relay:
        async with asyncio.timeout(60):
            while True:
                try:
                    await relay.checks["due calls"]()
                except Unavailable:
                    break
                await asyncio.sleep(0.01)
        assert await ledger.intake.published_ahead() == 0
        queue.down = False
        await until(lambda: bool(queue._messages))
    assert sorted(await received(queue)) == sorted(call_ids)

"""The webhook processor on a real ledger: batches, poison, parked payloads, outages, alarms."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import pytest_asyncio

from outdial.adapters.memory.parking import MemoryParking
from outdial.adapters.memory.platform import MemoryPlatform
from outdial.adapters.memory.queue import MemoryQueue
from outdial.core.messages import EventMessage, compress, encode_event, parking_key
from outdial.errors import Unavailable
from outdial.ports.inbox import Inbox, Incoming, Taken
from outdial.ports.queue import Outgoing
from outdial.webhook_processor import WebhookProcessor
from tests.ledger_world import World, analyzed, incoming, open_world, retell_id, started


class Flaky:
    """The inbox, or a parking, behind a network that fails so many times first."""

    def __init__(self, behind: Any, failures: int) -> None:
        """`failures` are used up by any of its methods."""
        self._behind = behind
        self.failures = failures

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The method, or its failure."""
        method = getattr(self._behind, name)

        async def call(*arguments: Any) -> Any:
            if self.failures > 0:
                self.failures -= 1
                raise Unavailable("database", "away")
            return await method(*arguments)

        return call


class Recording:
    """The inbox, and how large the batches were that it was asked to take."""

    def __init__(self, inbox: Inbox) -> None:
        """Nothing taken yet."""
        self._inbox = inbox
        self.sizes: list[int] = []
        self.seen = inbox.seen

    async def take(self, events: Sequence[Incoming]) -> list[Taken]:
        """Pass on."""
        self.sizes.append(len(events))
        return await self._inbox.take(events)


@dataclass
class Shop:
    """The stage's surroundings."""

    world: World
    queue: MemoryQueue = field(default_factory=lambda: MemoryQueue("events"))
    parking: Any = field(default_factory=MemoryParking)
    platform: MemoryPlatform = field(default_factory=MemoryPlatform)

    async def send(self, *bodies: bytes, encoding: str = "plain") -> None:
        """Webhooks come in, as the entry forwards them."""
        await self.queue.send([Outgoing(await self._message(body, encoding)) for body in bodies])

    async def _message(self, body: bytes, encoding: Any) -> str:
        one = incoming(body)
        payload: dict[str, Any] = orjson.loads(body)
        identity = (payload["call"]["call_id"], payload["event"], one.sha256)
        if encoding == "parked":
            text = parking_key(*identity)
            await self.parking.put(text, body)
        else:
            text = compress(body) if encoding == "zlib" else body.decode()
        return encode_event(EventMessage(*identity, one.received_at, encoding, text))

    @asynccontextmanager
    async def open(self, inbox: Any = None) -> AsyncIterator[WebhookProcessor]:
        """The stage, running."""
        stage = WebhookProcessor(
            inbox or self.world.ledger.inbox, self.queue, self.parking, self.platform
        )
        running = asyncio.create_task(stage.run())
        try:
            yield stage
        finally:
            await stage.stop()
            await running

    async def settled(self) -> None:
        """Return once nothing waits in the queue, or fail after a while."""
        until = time.monotonic() + 30
        while True:
            depth = await self.queue.depth()
            if not depth.visible + depth.in_flight + depth.delayed:
                return
            assert time.monotonic() < until, depth
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def shop(ledger_url: str) -> AsyncIterator[Shop]:
    """On both databases."""
    async with open_world(ledger_url) as world:
        yield Shop(world)


async def blobs(shop: Shop, body: bytes) -> bytes | None:
    """What is parked for this webhook."""
    payload = orjson.loads(body)
    key = parking_key(payload["call"]["call_id"], payload["event"], incoming(body).sha256)
    found: bytes | None = await shop.parking.get(key)
    return found


@pytest.mark.parametrize("encoding", ["plain", "zlib", "parked"])
async def test_events_reach_the_ledger(shop: Shop, encoding: str) -> None:
    """However they travelled; what was parked is removed after it is processed."""
    call_id, claim = await shop.world.placed()
    bodies = [analyzed(claim), started(claim)]
    await shop.send(*bodies, *bodies, encoding=encoding)
    async with shop.open() as stage:
        await shop.settled()
        await stage.ready()
    assert await shop.world.told(call_id) == ["initiated", "started", "completed"]
    assert [await blobs(shop, body) for body in bodies] == [None, None]
    assert await shop.queue.dead_letters() == []


async def test_only_what_is_broken_is_dead_lettered(shop: Shop) -> None:
    """A body no transaction can apply costs its batch a second try, and the others nothing."""
    call_id, claim = await shop.world.placed()
    broken = EventMessage("call_x", "call_ended", "0" * 64, 1, "plain", "[1]")
    await shop.send(started(claim))
    await shop.queue.send([Outgoing(encode_event(broken)), Outgoing("no envelope")])
    await shop.send(analyzed(claim))
    recording = Recording(shop.world.ledger.inbox)
    async with shop.open(recording):
        await shop.settled()
    assert await shop.world.told(call_id) == ["initiated", "started", "completed"]
    reasons = sorted(letter.reason for letter in await shop.queue.dead_letters())
    assert [reason.split(":")[0] for reason in reasons] == [
        "no event message",
        "the webhook body is not a JSON object",
    ]
    assert recording.sizes[0] == 3


@pytest.mark.parametrize("payload", ["!", "eJw="])
async def test_a_payload_that_can_not_be_opened_is_poison(shop: Shop, payload: str) -> None:
    """It is dead-lettered at once, for no other try would open it."""
    message = EventMessage("call_x", "call_ended", "0" * 64, 1, "zlib", payload)
    await shop.queue.send([Outgoing(encode_event(message))])
    async with shop.open():
        await shop.settled()
    [letter] = await shop.queue.dead_letters()
    assert letter.reason.startswith("no event message")
    assert letter.receive_count == 1


async def test_a_parked_payload_that_was_processed_is_done(shop: Shop) -> None:
    """Its message came again after it was removed: that is no poison."""
    call_id, claim = await shop.world.placed()
    body = analyzed(claim)
    await shop.send(body, encoding="parked")
    async with shop.open():
        await shop.settled()
    await shop.send(body, encoding="parked")
    await shop.parking.delete(parking_key(retell_id(claim), "call_analyzed", incoming(body).sha256))
    async with shop.open():
        await shop.settled()
    assert await shop.queue.dead_letters() == []
    assert await shop.world.told(call_id) == ["initiated", "started", "completed"]


@pytest.mark.parametrize("key", ["events/call_x/call_ended-gone.json", "../etc/passwd"])
async def test_a_parked_payload_that_never_was_is_poison(shop: Shop, key: str) -> None:
    """Nobody will ever find it; a person has to look."""
    message = EventMessage("call_x", "call_ended", "0" * 64, 1, "parked", key)
    await shop.queue.send([Outgoing(encode_event(message))])
    async with shop.open():
        await shop.settled()
    [letter] = await shop.queue.dead_letters()
    assert "park" in letter.reason
    assert letter.receive_count == 1


async def test_nothing_is_lost_while_the_database_is_away(shop: Shop) -> None:
    """The batch comes again; until then the stage says that it waits, and for what."""
    call_id, claim = await shop.world.placed()
    await shop.send(started(claim), analyzed(claim))
    flaky = Flaky(shop.world.ledger.inbox, failures=2)
    async with shop.open(flaky) as stage:
        until = time.monotonic() + 30
        while stage.consumer.state.name != "waiting":
            assert time.monotonic() < until
            await asyncio.sleep(0.001)
        with pytest.raises(Unavailable, match="waiting: database"):
            await stage.ready()
        await shop.settled()
    assert await shop.world.told(call_id) == ["initiated", "started", "completed"]


async def test_nothing_is_lost_while_the_parking_is_away(shop: Shop) -> None:
    """Only what is parked waits; the rest of the batch is processed."""
    call_id, claim = await shop.world.placed()
    await shop.send(analyzed(claim), encoding="parked")
    await shop.send(started(claim))
    shop.parking = Flaky(shop.parking, failures=1)
    async with shop.open():
        await shop.settled()
    assert await shop.world.told(call_id) == ["initiated", "started", "completed"]
    assert await shop.queue.dead_letters() == []


@pytest.mark.parametrize("away", [False, True])
async def test_a_second_call_of_an_attempt_is_stopped(shop: Shop, away: bool) -> None:  # noqa: FBT001
    """And alarmed of; that Retell does not answer to the stop costs the event nothing."""
    call_id, claim = await shop.world.placed()
    shop.platform.calls["call_second"] = {"call_status": "ongoing"}
    shop.platform.away = away
    await shop.send(started(claim, retell_call_id="call_second"))
    async with shop.open():
        await shop.settled()
    assert shop.platform.stopped == ([] if away else ["call_second"])
    assert await shop.world.alarms() == [("duplicate_dial", "call_second")]
    assert await shop.world.told(call_id) == ["initiated"]

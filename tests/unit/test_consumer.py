"""The loop between a queue and a stage, on the memory queue and on the real one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from outdial.consumer import Consumer, Retry, Rules, Verdict
from outdial.core.retry import Backoff
from outdial.errors import AlreadyDone, Poison, Retryable, Unavailable
from outdial.ports.queue import DeadLetter, Depth, Outgoing, Queue, Received
from tests.contract import queues

AT_ONCE = Rules(
    backoff=Backoff(base=0), probing=Backoff(base=0), poison_run=1000, idle=0.001, wait=20
)


class WatchedQueue:
    """Passes everything on, and tells what was asked; may be made to fail."""

    def __init__(self, inner: Queue, advance: Callable[[float], Awaitable[None]]) -> None:
        """Watches `inner`, whose clock `advance` moves."""
        self.inner = inner
        self.advance = advance
        self.acts: asyncio.Queue[tuple[str, list[str], Any]] = asyncio.Queue()
        self.asked: list[int] = []
        self.receiving = asyncio.Event()
        self.failures: list[Exception] = []
        self.delete_failures: list[Exception] = []

    @property
    def name(self) -> str:
        """The inner name."""
        return self.inner.name

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Pass on."""
        await self.inner.send(messages)

    async def receive(
        self, limit: int = 10, wait: float = 0.0, visibility: float | None = None
    ) -> list[Received]:
        """Fail as told, else pass on."""
        self.asked.append(limit)
        self.receiving.set()
        if self.failures:
            raise self.failures.pop(0)
        return await self.inner.receive(limit, wait, visibility)

    async def delete(self, messages: Sequence[Received]) -> None:
        """Fail as told, else pass on."""
        if self.delete_failures:
            raise self.delete_failures.pop(0)
        await self.inner.delete(messages)
        if messages:
            self.acts.put_nowait(("delete", [each.body for each in messages], None))

    async def change_visibility(self, messages: Sequence[Received], seconds: float) -> None:
        """Pass on."""
        await self.inner.change_visibility(messages, seconds)
        self.acts.put_nowait(("visible", [each.body for each in messages], seconds))

    async def dead_letter(self, message: Received, reason: str, stage: str) -> None:
        """Pass on."""
        await self.inner.dead_letter(message, reason, stage)
        self.acts.put_nowait(("dead", [message.body], reason))

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """Pass on."""
        return await self.inner.dead_letters(limit)

    async def redrive(self, ids: Sequence[str] | None = None) -> int:
        """Pass on."""
        return await self.inner.redrive(ids)

    async def depth(self) -> Depth:
        """Pass on."""
        return await self.inner.depth()

    async def close(self) -> None:
        """Pass on."""
        await self.inner.close()

    async def act(self) -> tuple[str, list[str], Any]:
        """What the consumer did next."""
        async with asyncio.timeout(5):
            return await self.acts.get()


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged; rendering tracebacks would be the slowest part of these tests."""
    with capture_logs() as captured:
        yield captured


@pytest.fixture(params=queues.ALL, ids=lambda adapter: adapter.__name__)
async def queue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[WatchedQueue]:
    """A watched queue of each kind."""
    adapter: queues.Queues = request.param
    async with adapter(tmp_path) as maker:
        yield WatchedQueue(maker.make(), maker.advance)


@asynccontextmanager
async def running(consumer: Consumer) -> AsyncIterator[Consumer]:
    """The consumer at work; stopped at the end."""
    task = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        async with asyncio.timeout(5):
            await consumer.stop(grace=0)
            await task


def saying(verdict: Verdict) -> Callable[[Sequence[Received]], Awaitable[Sequence[Verdict]]]:
    """A handler that says the same of every message."""

    async def handle(messages: Sequence[Received]) -> Sequence[Verdict]:
        return [verdict] * len(messages)

    return handle


def raising(
    *errors: Exception,
) -> Callable[[Sequence[Received]], Awaitable[Sequence[Verdict]]]:
    """A handler that raises `errors` in turn, then succeeds."""
    left = list(errors)

    async def handle(messages: Sequence[Received]) -> Sequence[Verdict]:
        if left:
            raise left.pop(0)
        return [None] * len(messages)

    return handle


async def send(queue: Queue, *bodies: str) -> None:
    """Send messages."""
    await queue.send([Outgoing(body) for body in bodies])


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - counters have no event, and need none
            await asyncio.sleep(0)


@pytest.mark.parametrize("verdict", [None, AlreadyDone("before")])
async def test_deletes_what_is_done(queue: WatchedQueue, verdict: Verdict) -> None:
    """A message that is done, now or before, is deleted, with the others of its batch."""
    await send(queue, "a", "b")
    async with running(Consumer(queue, saying(verdict), stage="s", rules=AT_ONCE)) as consumer:
        act, bodies, _ = await queue.act()
        await until(lambda: consumer.counters.done == 2)
    assert (act, sorted(bodies)) == ("delete", ["a", "b"])
    depth = await queue.depth()
    assert (depth.visible, depth.in_flight) == (0, 0)
    assert consumer.counters.received == 2


async def test_gives_back_for_as_long_as_told(queue: WatchedQueue) -> None:
    """`Retry` gives a message back for its own time."""
    await send(queue, "a")
    async with running(Consumer(queue, saying(Retry(42.0)), stage="s", rules=AT_ONCE)):
        assert await queue.act() == ("visible", ["a"], 42.0)


async def test_dead_letters_poison(queue: WatchedQueue) -> None:
    """`Poison` goes to the dead letters with its reason and the stage."""
    await send(queue, "a")
    async with running(Consumer(queue, saying(Poison("no such")), stage="s", rules=AT_ONCE)):
        assert await queue.act() == ("dead", ["a"], "no such")
    (dead,) = await queue.dead_letters()
    assert (dead.reason, dead.stage) == ("no such", "s")


async def test_backs_off_longer_with_each_receive(queue: WatchedQueue) -> None:
    """A retryable message is given back for a time that doubles with its receive count."""
    await send(queue, "a")
    rules = Rules(backoff=Backoff(base=1, ceiling=60))
    for expected in (1.0, 2.0, 4.0):
        consumer = Consumer(
            queue, saying(Retryable("later")), stage="s", rules=rules, draw=lambda: 1.0
        )
        async with running(consumer):
            assert await queue.act() == ("visible", ["a"], expected)
        assert consumer.counters.retried == 1
        await queue.advance(expected)


async def test_settles_each_message_of_a_batch_by_its_own_verdict(queue: WatchedQueue) -> None:
    """The verdicts of one batch are carried out in their order, each for its own message."""
    await send(queue, "done", "later", "bad", "again", "before")
    says: dict[str, Verdict] = {
        "done": None,
        "later": Retry(9.0),
        "bad": Poison("bad"),
        "again": Retryable("again"),
        "before": AlreadyDone("before"),
    }

    async def handle(messages: Sequence[Received]) -> Sequence[Verdict]:
        return [says[each.body] for each in messages]

    consumer = Consumer(queue, handle, stage="s", rules=Rules(), draw=lambda: 1.0)
    async with running(consumer):
        acts = [await queue.act() for _ in range(4)]
    assert sorted(acts, key=str) == [
        ("dead", ["bad"], "bad"),
        ("delete", ["done", "before"], None),
        ("visible", ["again"], 1.0),
        ("visible", ["later"], 9.0),
    ]


async def test_gives_a_whole_batch_back_when_it_is_retryable(queue: WatchedQueue) -> None:
    """`Retryable` raised on a batch gives it back as one, without dividing it."""
    await send(queue, "a", "b")
    consumer = Consumer(queue, raising(Retryable("later")), stage="s", draw=lambda: 0.5)
    async with running(consumer):
        act, bodies, seconds = await queue.act()
    assert (act, sorted(bodies), seconds) == ("visible", ["a", "b"], 0.5)


async def test_tries_a_failed_batch_one_by_one(
    queue: WatchedQueue, logs: list[MutableMapping[str, Any]]
) -> None:
    """A fault in a batch costs only the message that causes it."""
    await send(queue, "a", "bad", "c")
    sizes: list[int] = []

    async def handle(messages: Sequence[Received]) -> Sequence[Verdict]:
        sizes.append(len(messages))
        if any(each.body == "bad" for each in messages):
            raise KeyError("bad")
        return [None] * len(messages)

    consumer = Consumer(queue, handle, stage="s", rules=Rules(), draw=lambda: 1.0)
    async with running(consumer):
        acts = [await queue.act(), await queue.act()]
    assert sorted(acts) == [("delete", ["a", "c"], None), ("visible", ["bad"], 1.0)]
    assert sizes == [3, 1, 1, 1]
    (fault,) = [each for each in logs if each["event"] == "unexpected"]
    assert isinstance(fault["exc_info"], KeyError)


async def test_dead_letters_poison_raised_on_a_batch_alone(queue: WatchedQueue) -> None:
    """`Poison` raised on a batch dead-letters only the message that raises it alone."""
    await send(queue, "a", "bad")

    async def handle(messages: Sequence[Received]) -> Sequence[Verdict]:
        if any(each.body == "bad" for each in messages):
            raise Poison("bad")
        return [None] * len(messages)

    async with running(Consumer(queue, handle, stage="s", rules=AT_ONCE)):
        acts = [await queue.act(), await queue.act()]
    assert sorted(acts, key=str) == [("dead", ["bad"], "bad"), ("delete", ["a"], None)]


async def test_takes_a_wrong_number_of_verdicts_for_a_fault(queue: WatchedQueue) -> None:
    """A handler that does not answer for each message has nothing deleted."""
    await send(queue, "a", "b")

    async def handle(_: Sequence[Received]) -> Sequence[Verdict]:
        return []

    consumer = Consumer(queue, handle, stage="s", rules=Rules(), draw=lambda: 1.0)
    async with running(consumer):
        act, bodies, _ = await queue.act()
    assert (act, sorted(bodies)) == ("visible", ["a", "b"])


async def test_gives_up_on_a_message_that_always_fails(queue: WatchedQueue) -> None:
    """After so many receives a fault of ours is dead-lettered with its class, not its text."""
    await send(queue, "a")
    rules = Rules(backoff=Backoff(base=0), unexpected_receives=3)
    handle = raising(*[KeyError("+14155550100")] * 3)
    async with running(Consumer(queue, handle, stage="s", rules=rules)):
        acts = [await queue.act() for _ in range(3)]
    assert [act for act, _, _ in acts] == ["visible", "visible", "dead"]
    assert acts[-1][2] == "unexpected KeyError"


async def test_receives_nothing_while_a_dependency_is_down(queue: WatchedQueue) -> None:
    """After `Unavailable` it probes, receives nothing, and goes on once the probe succeeds."""
    await send(queue, "a")
    answers = asyncio.Event()
    probes: list[str] = []

    async def probe() -> None:
        probes.append(consumer.state.name)
        if not answers.is_set():
            raise Unavailable("database", "refused")

    consumer = Consumer(
        queue, raising(Unavailable("database", "refused")), stage="s", probe=probe, rules=AT_ONCE
    )
    async with running(consumer):
        assert (await queue.act())[0] == "visible"
        await until(lambda: len(probes) > 3)
        assert (consumer.state.name, consumer.state.detail) == ("waiting", "database")
        assert len(queue.asked) <= 2
        since = consumer.state.since
        await until(lambda: len(probes) > 6)
        assert consumer.state.since == since
        answers.set()
        while (await queue.act())[0] != "delete":
            pass
        assert consumer.state.name == "running"


async def test_tries_one_message_first_after_an_outage(queue: WatchedQueue) -> None:
    """Without a probe the next message is the probe; then batches are received again."""
    await send(queue, *"abcdef")
    sizes: list[int] = []
    down = [Unavailable("platform", "503")] * 2

    async def handle(messages: Sequence[Received]) -> Sequence[Verdict]:
        sizes.append(len(messages))
        if down:
            raise down.pop()
        return [None] * len(messages)

    async with running(Consumer(queue, handle, stage="s", rules=AT_ONCE)) as consumer:
        await until(lambda: consumer.counters.done == 6)
        assert consumer.state.name == "running"
    assert sizes == [6, 1, 1, 5]


async def test_stops_at_the_first_message_that_finds_a_dependency_down(
    queue: WatchedQueue,
) -> None:
    """Tried one by one, the rest of a batch is given back unseen once a dependency is down."""
    await send(queue, "a", "b", "c")
    seen: list[str] = []

    async def handle(messages: Sequence[Received]) -> Sequence[Verdict]:
        if len(messages) > 1:
            raise KeyError
        seen.append(messages[0].body)
        raise Unavailable("database", "refused")

    rules = Rules(probing=Backoff(base=1000))
    async with running(Consumer(queue, handle, stage="s", rules=rules)):
        act, bodies, _ = await queue.act()
    assert (act, sorted(bodies)) == ("visible", ["a", "b", "c"])
    assert len(seen) == 1


async def test_waits_for_a_queue_that_is_down(queue: WatchedQueue) -> None:
    """A queue that does not answer, or fails by a fault, is asked again until it does."""
    queue.failures = [Unavailable("call queue", "locked"), RuntimeError(), OSError()]
    states: list[str] = []

    def draw() -> float:
        states.append(consumer.state.name)
        return 0.0

    consumer = Consumer(queue, saying(None), stage="s", rules=AT_ONCE, draw=draw)
    await send(queue, "a")
    async with running(consumer):
        assert (await queue.act())[0] == "delete"
        assert consumer.state.name == "running"
    assert states == ["waiting"] * 3


async def test_halts_on_a_run_of_poison(
    queue: WatchedQueue, logs: list[MutableMapping[str, Any]]
) -> None:
    """A run of poison stops it: no more than the run is dead-lettered, and that is an alarm."""
    await send(queue, *map(str, range(30)))
    rules = Rules(backoff=Backoff(base=0), poison_run=15)
    async with running(Consumer(queue, saying(Poison("bad")), stage="s", rules=rules)) as consumer:
        await until(lambda: consumer.counters.dead == 15)
        await until(lambda: consumer.in_hand == 0)
        assert consumer.state.name == "halted"
        assert "15 messages" in consumer.state.detail
        depth = await queue.depth()
    assert (depth.dead, depth.visible) == (15, 15)
    assert [each["log_level"] for each in logs if each["event"] == "halted"] == ["critical"]


async def test_goes_on_after_a_halt_when_told(queue: WatchedQueue) -> None:
    """`resume` lets a halted consumer go on."""
    await send(queue, "a", "b")
    verdicts: list[Verdict] = [Poison("bad")]

    async def handle(messages: Sequence[Received]) -> Sequence[Verdict]:
        return [verdicts.pop() if verdicts else None for _ in messages]

    rules = Rules(poison_run=1)
    async with running(Consumer(queue, handle, stage="s", batch=1, rules=rules)) as consumer:
        await until(lambda: consumer.state.name == "halted")
        consumer.resume()
        await until(lambda: consumer.counters.done == 1)
        assert consumer.state.name == "running"


async def test_counts_poison_in_a_row_only(queue: WatchedQueue) -> None:
    """One success between poison begins the run anew."""
    await send(queue, *map(str, range(10)))

    async def handle(messages: Sequence[Received]) -> Sequence[Verdict]:
        return [None if int(each.body) % 3 == 0 else Poison("bad") for each in messages]

    rules = Rules(poison_run=3)
    async with running(Consumer(queue, handle, stage="s", rules=rules)) as consumer:
        await until(lambda: consumer.counters.dead + consumer.counters.done == 10)
        assert consumer.state.name == "running"


async def test_renews_the_visibility_of_long_work(queue: WatchedQueue) -> None:
    """While a handler works, its messages stay invisible, and then no more."""
    await send(queue, "a")
    renewed = asyncio.Event()

    async def handle(messages: Sequence[Received]) -> Sequence[Verdict]:
        await renewed.wait()
        return [None] * len(messages)

    async with running(Consumer(queue, handle, stage="s", visibility=0.02, rules=AT_ONCE)):
        assert await queue.act() == ("visible", ["a"], 0.02)
        renewed.set()
        while (act := await queue.act())[0] == "visible":
            pass
    assert act == ("delete", ["a"], None)


async def test_receives_no_more_than_the_limit(queue: WatchedQueue) -> None:
    """It asks how many messages may come, and waits while there are none."""
    await send(queue, *map(str, range(8)))
    limits = [0, 3, 0, 0, 5]
    sizes: list[int] = []

    async def limit() -> int:
        return limits.pop(0) if limits else 0

    async def handle(messages: Sequence[Received]) -> Sequence[Verdict]:
        sizes.append(len(messages))
        return [None] * len(messages)

    async with running(Consumer(queue, handle, stage="s", limit=limit, rules=AT_ONCE)) as consumer:
        await until(lambda: consumer.counters.done == 8)
    assert sizes == [3, 5]
    assert queue.asked == [3, 5]


async def test_outlives_a_limit_that_fails(queue: WatchedQueue) -> None:
    """A limit that can't be told, or fails by a fault, is asked again."""
    await send(queue, "a")
    failures: list[Exception] = [Unavailable("database", "refused"), KeyError()]

    async def limit() -> int:
        if failures:
            raise failures.pop(0)
        return 1

    async with running(Consumer(queue, saying(None), stage="s", limit=limit, rules=AT_ONCE)):
        assert await queue.act() == ("delete", ["a"], None)


async def test_outlives_a_probe_that_fails(queue: WatchedQueue) -> None:
    """A probe with a fault counts as no answer."""
    await send(queue, "a")
    failures: list[Exception] = [KeyError(), KeyError()]

    async def probe() -> None:
        if failures:
            raise failures.pop()

    consumer = Consumer(
        queue, raising(Unavailable("database", "")), stage="s", probe=probe, rules=AT_ONCE
    )
    async with running(consumer):
        await until(lambda: consumer.counters.done == 1)
    assert failures == []


async def test_keeps_as_many_batches_in_hand_as_allowed(queue: WatchedQueue) -> None:
    """Batches run side by side, up to the concurrency, and no more is received."""
    await send(queue, *map(str, range(5)))
    release = asyncio.Event()

    async def handle(messages: Sequence[Received]) -> Sequence[Verdict]:
        await release.wait()
        return [None] * len(messages)

    consumer = Consumer(queue, handle, stage="s", concurrency=3, batch=1, rules=AT_ONCE)
    async with running(consumer):
        await until(lambda: consumer.in_hand == 3)
        assert (await queue.depth()).visible == 2
        assert len(queue.asked) == 3
        release.set()
        await until(lambda: consumer.counters.done == 5)


async def test_waits_for_running_work_when_stopped(queue: WatchedQueue) -> None:
    """A graceful stop lets what is in hand end, and receives nothing more."""
    await send(queue, "a", "b")
    started, release = asyncio.Event(), asyncio.Event()

    async def handle(messages: Sequence[Received]) -> Sequence[Verdict]:
        started.set()
        await release.wait()
        return [None] * len(messages)

    consumer = Consumer(queue, handle, stage="s", batch=1, rules=AT_ONCE)
    running_task = asyncio.create_task(consumer.run())
    await started.wait()
    stopping = asyncio.create_task(consumer.stop(grace=5))
    await asyncio.sleep(0)
    release.set()
    await stopping
    await running_task
    assert (consumer.counters.done, consumer.state.name) == (1, "stopped")
    assert (await queue.depth()).visible == 1


@pytest.mark.parametrize("way", ["stopped", "cancelled"])
async def test_gives_back_what_it_can_not_end(queue: WatchedQueue, way: str) -> None:
    """Past the deadline of a stop, or cancelled, what is in hand is visible again at once."""
    await send(queue, "a")
    started = asyncio.Event()

    async def handle(_: Sequence[Received]) -> Sequence[Verdict]:
        started.set()
        await asyncio.Event().wait()
        return []

    consumer = Consumer(queue, handle, stage="s", rules=AT_ONCE)
    task = asyncio.create_task(consumer.run())
    await started.wait()
    if way == "stopped":
        await consumer.stop(grace=0.01)
        await task
    else:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert consumer.state.name == "stopped"
    assert (await queue.depth()).visible == 1


async def test_may_be_stopped_before_it_runs(queue: WatchedQueue) -> None:
    """A stop that comes first is no wait, and the run that follows ends at once."""
    consumer = Consumer(queue, saying(None), stage="s")
    async with asyncio.timeout(5):
        await consumer.stop()
        await consumer.run()
    assert queue.asked == []


async def test_stops_at_once_while_it_waits_for_messages(queue: WatchedQueue) -> None:
    """A long poll does not hold up a stop."""
    consumer = Consumer(queue, saying(None), stage="s")
    task = asyncio.create_task(consumer.run())
    await queue.receiving.wait()
    async with asyncio.timeout(5):
        await consumer.stop()
        await task
    await send(queue, "a")
    assert (await queue.depth()).visible == 1


async def test_takes_nothing_on_while_halted(queue: WatchedQueue) -> None:
    """What a long poll that was under way still brings is given back unseen."""
    await send(queue, "bad")
    seen: list[str] = []
    polling = asyncio.Event()

    async def handle(messages: Sequence[Received]) -> Sequence[Verdict]:
        seen.extend(each.body for each in messages)
        await polling.wait()
        return [Poison("bad")] * len(messages)

    consumer = Consumer(queue, handle, stage="s", concurrency=2, rules=Rules(poison_run=1))
    async with running(consumer):
        await until(lambda: len(queue.asked) == 2)
        polling.set()
        assert (await queue.act())[0] == "dead"
        await send(queue, "good")
        assert await queue.act() == ("visible", ["good"], 0)
        consumer.resume()
    assert seen[0] == "bad"


@pytest.mark.parametrize("error", [Unavailable("call queue", "locked"), OSError()])
async def test_outlives_a_queue_that_does_not_acknowledge(
    queue: WatchedQueue, error: Exception, logs: list[MutableMapping[str, Any]]
) -> None:
    """A message that could not be deleted comes back by its timeout, and is not counted done."""
    queue.delete_failures = [error]
    await send(queue, "a")
    consumer = Consumer(queue, saying(None), stage="s", visibility=1, rules=AT_ONCE)
    async with running(consumer):
        await until(lambda: any(each["event"] == "unsettled" for each in logs))
        assert consumer.counters.done == 0
        await queue.advance(1.1)
        assert await queue.act() == ("delete", ["a"], None)

"""The call processor on a real ledger: one dial a call, whatever fails, stops, or comes twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import pytest_asyncio
from sqlalchemy import text

from outdial.adapters.database import DialingRules, Limits
from outdial.adapters.memory.platform import LostAnswer, MemoryPlatform
from outdial.adapters.memory.queue import MemoryQueue
from outdial.call_processor import CallProcessor, DialTimes
from outdial.call_processor.gauge import Gauge
from outdial.core.messages import CallHint, encode_call_hint
from outdial.core.submission import Placed, Refused, Suspended, Throttled, Unanswered
from outdial.errors import Unavailable
from outdial.ports.queue import Outgoing
from tests.ledger_world import RULES, World, open_world, retell_id, started

TIMES = DialTimes(lease=60.0, timeout=24.0)


class Flaky:
    """The ledger behind a network that fails so many times first, by method."""

    def __init__(self, behind: Any, **failures: int) -> None:
        """`failures` by name of the method."""
        self._behind = behind
        self.failures = failures

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The method, or its failure."""
        method = getattr(self._behind, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            if self.failures.get(name, 0) > 0:
                self.failures[name] -= 1
                raise Unavailable("database", "away")
            return await method(*arguments, **named)

        return call


class Slow:
    """The ledger, and a worker whose clock runs on while it waits for a claim."""

    def __init__(self, behind: Any, method: str, seconds: float) -> None:
        """`seconds` pass in `method`."""
        self._behind = behind
        self._method = method
        self._seconds = seconds
        self.moment = 0.0

    def clock(self) -> float:
        """The worker's own clock."""
        return self.moment

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The method; time passes in one of them."""
        method = getattr(self._behind, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            if name == self._method:
                self.moment += self._seconds
            return await method(*arguments, **named)

        return call


@dataclass
class Shop:
    """The stage's surroundings."""

    world: World
    queue: MemoryQueue = field(default_factory=lambda: MemoryQueue("calls"))
    platform: MemoryPlatform = field(default_factory=lambda: MemoryPlatform(limit=1000))
    stages: list[CallProcessor] = field(default_factory=list)

    async def hint(self, *call_ids: str) -> None:
        """These calls may be due."""
        await self.queue.send([Outgoing(encode_call_hint(CallHint(one))) for one in call_ids])

    async def publish(self) -> None:
        """What the relay does."""
        due = await self.world.ledger.due_calls.lease_due(1000)
        await self.hint(*(call.call_id for call in due))

    @asynccontextmanager
    async def open(
        self,
        dialing: Any = None,
        clock: Callable[[], float] = time.monotonic,
        grace: float = 10.0,
    ) -> AsyncIterator[CallProcessor]:
        """The stage, running."""
        stage = CallProcessor(
            dialing or self.world.ledger.dialing, self.platform, self.queue, TIMES, clock
        )
        running = asyncio.create_task(stage.run())
        self.stages.append(stage)
        try:
            yield stage
        finally:
            self.stages.remove(stage)
            await stage.stop(grace)
            await running

    async def settled(self) -> None:
        """Return once nothing waits in the queue or is in hand, or fail after a while."""
        await until(self._empty)

    async def _empty(self) -> bool:
        depth = await self.queue.depth()
        waiting = depth.visible + depth.in_flight + depth.delayed
        return not waiting + sum(stage.in_hand for stage in self.stages)


async def until(holds: Callable[[], Any]) -> None:
    """Return once it holds, or fail after a while."""
    late = time.monotonic() + 30
    while not await holds():
        assert time.monotonic() < late, holds
        await asyncio.sleep(0.005)


@pytest_asyncio.fixture
async def shop(ledger_url: str) -> AsyncIterator[Shop]:
    """On both databases."""
    async with open_world(ledger_url) as world:
        yield Shop(world)


async def statuses(shop: Shop, call_ids: Sequence[str]) -> list[str]:
    """Where the calls stand."""
    return [(await shop.world.call(call_id)).status.value for call_id in call_ids]


async def test_a_hint_is_dialed_once(shop: Shop) -> None:
    """However often it comes, also in one batch and after it was dialed."""
    ids = [await shop.world.accept() for _ in range(5)]
    async with shop.open() as stage:
        await shop.hint(*ids, *ids, *reversed(ids))
        await shop.settled()
        await shop.hint(*ids)
        await shop.settled()
        await stage.ready()
    assert len(shop.platform.dials) == 5
    assert await statuses(shop, ids) == ["in_progress"] * 5
    for call_id in ids:
        assert await shop.world.told(call_id) == ["initiated"]


async def test_two_workers_dial_once(shop: Shop) -> None:
    """Each may get a hint of the same call."""
    ids = [await shop.world.accept() for _ in range(20)]
    await shop.hint(*ids, *ids)
    async with shop.open(), shop.open():
        await shop.settled()
    assert len(shop.platform.dials) == 20


async def test_what_is_no_hint_is_dead_lettered(shop: Shop) -> None:
    """And the calls beside it are dialed; a hint of an unknown call is nothing."""
    call_id = await shop.world.accept()
    await shop.queue.send([Outgoing("{}"), Outgoing("not JSON")])
    await shop.hint(call_id, "no-such-call")
    async with shop.open():
        await shop.settled()
    letters = await shop.queue.dead_letters()
    assert [letter.reason.split(":")[0] for letter in letters] == ["no call message"] * 2
    assert len(shop.platform.dials) == 1


async def test_only_what_is_no_hint(shop: Shop) -> None:
    """A batch without any call asks the ledger for none."""
    await shop.queue.send([Outgoing("{}")])
    async with shop.open():
        await shop.settled()
    assert len(await shop.queue.dead_letters()) == 1


async def test_a_throttled_call_is_dialed_later(shop: Shop) -> None:
    """By another attempt with another key."""
    call_id = await shop.world.accept()
    shop.platform.script.append(Throttled("rate limited"))
    async with shop.open():
        await shop.hint(call_id)
        await shop.settled()
        assert await statuses(shop, [call_id]) == ["queued"]
        shop.world.ledger.clock.ahead += 11_000
        await shop.publish()
        await shop.settled()
    [dial] = shop.platform.dials
    attempts = (await shop.world.call(call_id)).attempts
    assert [attempt.status for attempt in attempts] == ["deferred", "initiated"]
    assert dial.body["idempotency_key"] == attempts[1].id


async def test_a_refused_call_ends(shop: Shop) -> None:
    """Asking again would be refused again."""
    call_id = await shop.world.accept()
    shop.platform.script.append(Refused(422, "no such agent"))
    await shop.hint(call_id)
    async with shop.open():
        await shop.settled()
    assert await statuses(shop, [call_id]) == ["failed"]
    assert await shop.world.told(call_id) == ["not_placed"]


async def test_a_refused_key_stops_dialing_until_it_works_again(shop: Shop) -> None:
    """Nothing is lost meanwhile, and nothing dialed; the gauge's next answer closes the circuit."""
    first, second = await shop.world.accept(), await shop.world.accept()
    dialing = shop.world.ledger.dialing
    shop.platform.script.append(Suspended(401, "no such key"))
    async with shop.open() as stage:
        await until(lambda: _measured(shop))
        await shop.hint(first)
        await shop.settled()
        with pytest.raises(Unavailable, match="401 no such key"):
            await stage.ready()
        await shop.hint(second)
        assert (await dialing.permits()).free == 0
        shop.world.ledger.clock.ahead += 11_000
        await Gauge(dialing, shop.platform).measure()
        await shop.publish()
        await until(lambda: _dialed(shop, 2))
    assert len(shop.platform.dials) == 2
    assert await statuses(shop, [first, second]) == ["in_progress"] * 2


async def _dialed(shop: Shop, count: int) -> bool:
    await shop.publish()
    return len(shop.platform.dials) >= count


async def _measured(shop: Shop) -> bool:
    [[limit]] = await shop.world.rows(text("SELECT line_limit FROM workspace"))
    return limit is not None


async def test_a_lost_answer_is_looked_up_and_adopted(shop: Shop) -> None:
    """The call was placed: it is found by its metadata, and not dialed again."""
    call_id = await shop.world.accept()
    shop.platform.script.append(LostAnswer())
    async with shop.open():
        await shop.hint(call_id)
        await shop.settled()
        assert await statuses(shop, [call_id]) == ["dialing"]
        assert await shop.world.told(call_id) == []
        shop.world.ledger.clock.ahead += 2_001
        await shop.publish()
        await shop.settled()
    [dial] = shop.platform.dials
    [attempt] = (await shop.world.call(call_id)).attempts
    assert (attempt.status, attempt.retell_call_id) == ("initiated", dial.retell_call_id)
    assert await shop.world.told(call_id) == ["initiated"]


async def test_what_is_not_found_is_submitted_again_as_it_was(shop: Shop) -> None:
    """The same body under the same key: should it have been placed, it is not dialed again."""
    call_id = await shop.world.accept()
    bodies: list[Any] = []
    submit = shop.platform.submit

    async def noting(body: Any, timeout: float) -> Any:
        bodies.append(body)
        return await submit(body, timeout)

    shop.platform.script.append(Unanswered("reset"))
    shop.platform = _with_submit(shop.platform, noting)
    async with shop.open():
        await shop.hint(call_id)
        await shop.settled()
        shop.world.ledger.clock.ahead += 2_001
        await shop.publish()
        await shop.settled()
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]
    assert len(shop.platform.dials) == 1
    assert await statuses(shop, [call_id]) == ["in_progress"]


def _with_submit(platform: MemoryPlatform, submit: Any) -> Any:
    class Noting:
        def __getattr__(self, name: str) -> Any:
            return submit if name == "submit" else getattr(platform, name)

    return Noting()


@pytest.mark.parametrize("obstacle", ["paused", "away", "late", "database"])
async def test_a_doubtful_call_is_not_dialed_against_the_rules(shop: Shop, obstacle: str) -> None:
    """Not found is not enough: it waits where a dial is not allowed now, or nothing is known."""
    world = shop.world
    call_id = await world.accept(campaign="nurses")
    await world.answer(await world.claim(call_id), Unanswered("reset"))
    world.ledger.clock.ahead += 2_001
    dialing: Any = world.ledger.dialing
    if obstacle == "paused":
        await world.ledger.intake.pause(None, "nurses")
    elif obstacle == "away":
        shop.platform.away = True
    elif obstacle == "late":
        world.ledger.clock.ahead += 3_000_000
    else:
        dialing = Flaky(dialing, may_submit_again=1)
    async with shop.open(dialing):
        await shop.hint(call_id)
        await shop.settled()
    assert shop.platform.dials == []
    [attempt] = (await world.call(call_id)).attempts
    assert attempt.status == "unknown"


async def test_a_worker_that_dies_after_its_claim_is_succeeded(shop: Shop) -> None:
    """Between claim and submission: the heir finds nothing at Retell, and dials it once."""
    world = shop.world
    call_id = await world.accept()
    await world.claim(call_id)
    async with shop.open():
        await shop.hint(call_id)
        await shop.settled()
        assert shop.platform.dials == []
        world.ledger.clock.ahead += 60_001
        await shop.publish()
        await shop.settled()
    [dial] = shop.platform.dials
    assert dial.body["metadata"]["outdial_call_id"] == call_id
    assert await world.told(call_id) == ["initiated"]


async def test_a_worker_killed_before_it_recorded_is_succeeded(shop: Shop) -> None:
    """Between submission and record: the heir finds the call, and nobody is dialed again."""
    world = shop.world
    call_id = await world.accept()
    asked = asyncio.Event()

    async def hold(_: str) -> None:
        asked.set()
        await asyncio.Event().wait()

    shop.platform.before_answer = hold
    await shop.hint(call_id)
    stage = CallProcessor(world.ledger.dialing, shop.platform, shop.queue, TIMES)
    running = asyncio.create_task(stage.run())
    await asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    shop.platform.before_answer = None
    async with shop.open():
        world.ledger.clock.ahead += 60_001
        await shop.publish()
        await shop.settled()
    assert len(shop.platform.dials) == 1
    assert await statuses(shop, [call_id]) == ["in_progress"]
    assert await world.told(call_id) == ["initiated"]


async def test_answers_wait_for_the_database(shop: Shop) -> None:
    """What Retell said is kept while the ledger is away, and the call is not dialed again."""
    call_id = await shop.world.accept()
    await shop.hint(call_id)
    flaky = Flaky(shop.world.ledger.dialing, record=3)
    async with shop.open(flaky):
        await shop.settled()
    assert flaky.failures["record"] == 0
    assert len(shop.platform.dials) == 1
    assert await statuses(shop, [call_id]) == ["in_progress"]


@pytest.mark.parametrize("method", ["permits", "claim", "measured"])
async def test_hints_wait_for_the_database(shop: Shop, method: str) -> None:
    """Nothing is dialed and nothing lost until the ledger answers again."""
    call_id = await shop.world.accept()
    await shop.hint(call_id)
    async with shop.open(Flaky(shop.world.ledger.dialing, **{method: 2})):
        await shop.settled()
    assert len(shop.platform.dials) == 1


async def test_a_stage_whose_database_is_away_is_not_ready(shop: Shop) -> None:
    """It says for what it waits."""
    flaky = Flaky(shop.world.ledger.dialing, permits=1_000_000)
    async with shop.open(flaky) as stage:

        async def waiting() -> bool:
            return stage.consumer.state.name == "waiting"

        await until(waiting)
        with pytest.raises(Unavailable, match="waiting: database"):
            await stage.ready()


async def test_a_worker_too_slow_for_its_lease_does_not_submit(shop: Shop) -> None:
    """Past half of the lease by its own clock, what it claimed is given back."""
    call_id = await shop.world.accept()
    slow = Slow(shop.world.ledger.dialing, "claim", 30.1)
    await shop.hint(call_id)
    async with shop.open(slow, slow.clock):
        await shop.settled()
    assert shop.platform.dials == []
    record = await shop.world.call(call_id)
    assert (record.status, record.attempts[0].status) == ("queued", "deferred")


async def test_a_worker_too_slow_to_submit_again_does_not(shop: Shop) -> None:
    """The renewed lease is measured by its own clock too; the attempt stays doubtful."""
    call_id = await shop.world.accept()
    await shop.world.answer(await shop.world.claim(call_id), Unanswered("reset"))
    shop.world.ledger.clock.ahead += 2_001
    slow = Slow(shop.world.ledger.dialing, "may_submit_again", 30.1)
    await shop.hint(call_id)
    async with shop.open(slow, slow.clock):
        await shop.settled()
    assert shop.platform.dials == []
    assert (await shop.world.call(call_id)).attempts[0].status == "unknown"


async def test_stopping_waits_for_answers(shop: Shop) -> None:
    """What Retell says within the grace is recorded."""
    call_id = await shop.world.accept()
    asked, answer = asyncio.Event(), asyncio.Event()

    async def hold(_: str) -> None:
        asked.set()
        await answer.wait()

    shop.platform.before_answer = hold
    await shop.hint(call_id)
    async with shop.open() as stage:
        await asked.wait()
        stopping = asyncio.create_task(stage.stop())
        await asyncio.sleep(0)
        answer.set()
        await stopping
    assert await statuses(shop, [call_id]) == ["in_progress"]
    await shop.settled()


async def test_stopping_does_not_wait_for_ever(shop: Shop) -> None:
    """What is not answered within the grace is left to a successor, its hint given back."""
    call_id = await shop.world.accept()
    asked = asyncio.Event()

    async def hold(_: str) -> None:
        asked.set()
        await asyncio.Event().wait()

    shop.platform.before_answer = hold
    await shop.hint(call_id)
    async with shop.open(grace=0.05):
        await asked.wait()
    assert await statuses(shop, [call_id]) == ["dialing"]
    assert (await shop.queue.depth()).visible == 1


async def test_never_more_at_once_than_permits(ledger_url: str) -> None:
    """Many hints, two workers, a platform that is slow to answer, a gauge that asks."""
    rules = DialingRules(Limits(rate=10_000, lines=7), 60_000, 3_000_000, "+14155550100")
    async with open_world(ledger_url, rules) as world:
        shop = Shop(world)
        under_way: set[str] = set()
        most: list[int] = []

        async def hold(retell_call_id: str) -> None:
            under_way.add(retell_call_id)
            most.append(len(under_way))
            await asyncio.sleep(0)

        shop.platform.before_answer = hold
        shop.platform.limit = 7
        ids = [await world.accept() for _ in range(60)]
        await shop.hint(*ids)
        gauge = Gauge(world.ledger.dialing, shop.platform)

        async def ended() -> bool:
            """Whoever talks hangs up, told of by a webhook."""
            for call_id in await _in_progress(world):
                [attempt] = (await world.call(call_id)).attempts
                retell_call_id = attempt.retell_call_id or ""
                under_way.discard(retell_call_id)
                shop.platform.calls[retell_call_id]["call_status"] = "ended"
                await world.hear(
                    b'{"event":"call_ended","call":{"call_id":"%b"}}' % retell_call_id.encode()
                )
            await gauge.measure()
            return len(shop.platform.dials) == 60

        async with shop.open(), shop.open():
            await until(ended)
            await shop.settled()
        assert max(most) <= 7
        assert len({dial.body["idempotency_key"] for dial in shop.platform.dials}) == 60


async def _in_progress(world: World) -> list[str]:
    query = text("SELECT call_id FROM attempts WHERE line_open AND status = 'initiated'")
    return [row[0] for row in await world.rows(query)]


async def test_several_calls_of_one_attempt_are_an_alarm(shop: Shop) -> None:
    """The oldest is adopted, the others are stopped; Retell away costs the record nothing."""
    world = shop.world
    call_id = await world.accept()
    claim = await world.claim(call_id)
    await world.answer(claim, Unanswered("reset"))
    world.ledger.clock.ahead += 2_001
    for name in ("call_a", "call_b"):
        shop.platform.calls[name] = {
            "call_status": "ongoing",
            "metadata": claim.body["metadata"],
        }
    await shop.hint(call_id)
    async with shop.open():
        await shop.settled()
        await until(lambda: _ended(shop))
    assert shop.platform.stopped == ["call_b"]
    assert await world.alarms() == [("duplicate_dial", "call_b")]
    assert await world.told(call_id) == ["initiated"]


async def _ended(shop: Shop) -> bool:
    return bool(shop.platform.stopped)


async def test_a_second_call_that_can_not_be_stopped_is_still_recorded(shop: Shop) -> None:
    """The alarm stands, whatever Retell answers."""
    world = shop.world
    call_id = await world.accept()
    retell: list[str] = []

    async def webhook_first(retell_call_id: str) -> None:
        retell.append(retell_call_id)
        claimed = shop.platform.calls[retell_call_id]["metadata"]
        await world.hear(
            b'{"event":"call_started","call":{"call_id":"call_other","metadata":%b}}'
            % _json(claimed)
        )
        shop.platform.away = True

    shop.platform.before_answer = webhook_first
    await shop.hint(call_id)
    async with shop.open():
        await shop.settled()
    assert await world.alarms() == [("duplicate_dial", retell[0])]
    assert await world.told(call_id) == ["initiated", "started"]


def _json(value: Any) -> bytes:
    return orjson.dumps(value)


async def test_one_call_id_for_two_attempts_stops_nothing(shop: Shop) -> None:
    """An alarm; the second call is looked up and placed, and the stage dials on."""
    world = shop.world
    first, second, third = [await world.accept() for _ in range(3)]
    async with shop.open():
        await shop.hint(first)
        await shop.settled()
        [dial] = shop.platform.dials
        shop.platform.script.append(Placed(dial.retell_call_id))
        await shop.hint(second)
        await shop.settled()
        assert await statuses(shop, [first, second]) == ["in_progress", "dialing"]
        await shop.hint(third)
        await shop.settled()
        world.ledger.clock.ahead += 2_001
        await until(lambda: _in(shop, second, "in_progress"))
    assert len(shop.platform.dials) == 3
    assert await world.alarms() == [("shared_call_id", dial.retell_call_id)]
    for call_id in (first, second, third):
        assert await world.told(call_id) == ["initiated"]


async def test_a_doubt_is_settled_without_a_hint(shop: Shop) -> None:
    """With the queue away and everything paused, whoever runs looks it up and adopts it."""
    world = shop.world
    call_id = await world.accept()
    shop.platform.script.append(LostAnswer())
    await shop.hint(call_id)
    async with shop.open():
        await shop.settled()
    await world.ledger.intake.pause(None, None)
    world.ledger.clock.ahead += 2_001
    async with shop.open():
        await until(lambda: _in(shop, call_id, "in_progress"))
    assert len(shop.platform.dials) == 1


async def test_a_submission_nobody_ever_saw_is_given_up(shop: Shop) -> None:
    """Past the window, by two looks of whichever worker; an error between them is no look."""
    world = shop.world
    call_id = await world.accept()
    await world.answer(await world.claim(call_id), Unanswered("reset"))
    world.ledger.clock.ahead += RULES.submit_ms
    async with shop.open():
        await until(lambda: _absent(shop))
    shop.platform.away = True
    world.ledger.clock.ahead += RULES.look_ups.apart_ms
    async with shop.open():
        await until(lambda: _message(shop, call_id, "could not be looked up"))
    shop.platform.away = False
    world.ledger.clock.ahead += RULES.look_ups.apart_ms
    async with shop.open():
        await until(lambda: _in(shop, call_id, "failed"))
    assert shop.platform.dials == []
    [event] = await world.events(call_id)
    assert event["data"]["reason"] == "submission_lost"


async def test_another_workspaces_list_proves_nothing(shop: Shop) -> None:
    """A platform that does not know the call it told us of last is not asked in earnest."""
    world = shop.world
    call_id = await world.accept()
    await world.answer(await world.claim(call_id), Unanswered("reset"))
    _, told_of = await world.placed()
    await world.hear(started(told_of))
    world.ledger.clock.ahead += RULES.submit_ms
    async with shop.open():
        await until(lambda: _message(shop, call_id, "not found at Retell, which does not know"))
    assert await _absent(shop) is False
    shop.platform.calls[retell_id(told_of)] = {"call_status": "ongoing"}
    world.ledger.clock.ahead += RULES.look_ups.apart_ms
    async with shop.open():
        await until(lambda: _absent(shop))


async def test_a_worker_with_a_clock_of_its_own(shop: Shop) -> None:
    """An hour off, or of another epoch: only the time that passes on it counts."""
    ids = [await shop.world.accept() for _ in range(10)]
    shop.platform.script.extend([LostAnswer()] * 3)
    await shop.hint(*ids, *ids)
    async with shop.open(clock=lambda: time.monotonic() + 3_600), shop.open():
        await shop.settled()
        shop.world.ledger.clock.ahead += 2_001
        await until(lambda: _all_in_progress(shop, ids))
    assert len(shop.platform.dials) == 10
    assert await shop.world.alarms() == []


_ABSENT = text("SELECT 1 FROM attempts WHERE absent_at IS NOT NULL")


async def _in(shop: Shop, call_id: str, status: str) -> bool:
    return await statuses(shop, [call_id]) == [status]


async def _all_in_progress(shop: Shop, ids: Sequence[str]) -> bool:
    return set(await statuses(shop, ids)) == {"in_progress"}


async def _absent(shop: Shop) -> bool:
    return await shop.world.rows(_ABSENT) != []


async def _message(shop: Shop, call_id: str, words: str) -> bool:
    [attempt] = (await shop.world.call(call_id)).attempts
    return (attempt.message or "").startswith(words)


async def test_the_gauge_goes_on_when_retell_is_away(shop: Shop) -> None:
    """It asks again; the ledger keeps what it knew."""
    shop.platform.away = True
    gauge = Gauge(shop.world.ledger.dialing, shop.platform, interval=0)
    with pytest.raises(Unavailable):
        await gauge.measure()
    shop.platform.away = False
    shop.platform.limit = 3
    running = asyncio.create_task(gauge.run())
    await until(lambda: _measured(shop))
    running.cancel()
    assert (await shop.world.ledger.dialing.permits()).free == 3

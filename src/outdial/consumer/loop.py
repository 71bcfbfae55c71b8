"""The loop: receive, have judged, settle; wait while a dependency is down."""

# ruff: noqa: BLE001 - whatever a limit, a probe or a queue raises, the loop goes on

import asyncio
import random
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import structlog

from outdial.consumer.judge import Judge
from outdial.consumer.terms import Counters, Handle, Retry, Rules, State, StateName, Verdict
from outdial.errors import AlreadyDone, Poison, Unavailable
from outdial.ports.queue import MAX_BATCH, MAX_VISIBILITY, Queue, Received

log = structlog.get_logger(__name__)


async def _no_limit() -> int:
    return sys.maxsize


class Consumer:
    """Receives from `queue`, hands batches to `handle`, and does with each what it says.

    `limit` tells how many messages may be received now; 0: ask again shortly. `concurrency`:
    batches in hand at once. `visibility`: seconds, renewed while a batch is in hand. `probe`
    returns once the stage's dependencies answer, and raises `Unavailable` while they do not.
    """

    def __init__(  # noqa: PLR0913 - each is one knob of the loop, given by name
        self,
        queue: Queue,
        handle: Handle,
        *,
        stage: str,
        limit: Callable[[], Awaitable[int]] = _no_limit,
        concurrency: int = 1,
        batch: int = MAX_BATCH,
        visibility: float = 30.0,
        probe: Callable[[], Awaitable[None]] | None = None,
        rules: Rules | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`clock`: ms since the epoch. `draw`: random in [0, 1), for the back-off."""
        self.stage = stage
        self.counters = Counters()
        self._queue = queue
        self._limit = limit
        self._batch = batch
        self._visibility = visibility
        self._probe = probe
        self._rules = rules or Rules()
        self._clock = clock
        self._draw = draw
        self._state = State("stopped", clock())
        self._log = log.bind(stage=stage, queue=queue.name)
        self._verdicts_on = Judge(handle, self._rules.unexpected_receives, self._log)
        self._slots = asyncio.Semaphore(concurrency)
        self._in_hand: dict[asyncio.Task[None], Sequence[Received]] = {}
        self._intake: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._stopped.set()
        self._stop_asked = False
        self._grace = 0.0
        self._resumed = asyncio.Event()
        self._poison_run = 0
        # Batches in a row that found a dependency down; and the last one, until it answers.
        self._outages = 0
        self._down: Unavailable | None = None

    @property
    def state(self) -> State:
        """Running, waiting for a dependency, halted by poison, or stopped."""
        return self._state

    @property
    def in_hand(self) -> int:
        """Messages received and not yet settled."""
        return sum(map(len, self._in_hand.values()))

    async def run(self) -> None:
        """Consume until `stop`, or until cancelled; what is in hand then is given back."""
        if self._stop_asked:
            return
        self._stopped.clear()
        self._turn_to("running")
        self._intake = asyncio.create_task(self._take_in())
        try:
            await asyncio.wait({self._intake})
            if self._in_hand:
                await asyncio.wait(set(self._in_hand), timeout=self._grace)
        finally:
            await self._let_go()
            self._turn_to("stopped")
            self._stopped.set()

    async def stop(self, grace: float = 10.0) -> None:
        """Receive no more, wait up to `grace` seconds for what is in hand, give back the rest."""
        self._stop_asked = True
        self._grace = grace
        if self._intake is not None:
            self._intake.cancel()
        await self._stopped.wait()

    def resume(self) -> None:
        """Go on after a halt."""
        if self._state.name == "halted":
            self._poison_run = 0
            self._turn_to("running")
            self._resumed.set()

    # Receiving

    async def _take_in(self) -> None:
        while True:
            await self._slots.acquire()
            messages: Sequence[Received] = []
            try:
                messages = await self._next_batch()
            finally:
                if not messages:
                    self._slots.release()
            if messages:
                self.counters.received += len(messages)
                task = asyncio.create_task(self._work(messages))
                self._in_hand[task] = messages
                task.add_done_callback(self._finished)
                if self._outages:
                    # On trial: one message must get through before more are burdened.
                    await asyncio.wait({task})

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._in_hand[task]
        self._slots.release()

    async def _next_batch(self) -> Sequence[Received]:
        await self._until_sound()
        try:
            permits = await self._limit()
        except Unavailable as error:
            self._note_outage(error)
            return []
        except Exception:
            self._log.exception("limit_failed")
            permits = 0
        if permits <= 0:
            await asyncio.sleep(self._rules.idle)
            return []
        messages = await self._receive(min(permits, 1 if self._outages else self._batch))
        if messages and (self._down is not None or self._state.name == "halted"):
            await self._give_back(messages)
            return []
        return messages

    async def _receive(self, limit: int) -> Sequence[Received]:
        failures = 0
        while True:
            try:
                messages = await self._queue.receive(limit, self._rules.wait, self._visibility)
            except Unavailable as error:
                failures += 1
                self._wait_for(error)
            except Exception:
                failures += 1
                self._log.exception("receive_failed")
            else:
                if failures:
                    self._recover()
                return messages
            await asyncio.sleep(self._rules.probing.delay(failures, self._draw()))

    async def _until_sound(self) -> None:
        """Return when the consumer is not halted and no dependency is known to be down."""
        while self._state.name == "halted":
            self._resumed.clear()
            await self._resumed.wait()
        while self._down is not None:
            await asyncio.sleep(self._rules.probing.delay(self._outages, self._draw()))
            if await self._answers():
                self._down = None
                self._recover()

    async def _answers(self) -> bool:
        if self._probe is None:
            return True
        try:
            await self._probe()
        except Unavailable as error:
            self._note_outage(error)
        except Exception:
            self._outages += 1
            self._log.exception("probe_failed")
        else:
            return True
        return False

    # Handling

    async def _work(self, messages: Sequence[Received]) -> None:
        renewal = asyncio.create_task(self._renew(messages))
        try:
            verdicts = await self._verdicts_on(messages)
            renewal.cancel()
            await self._settle(messages, verdicts)
        except Unavailable as error:
            # The queue itself; what was not settled comes back by its visibility timeout.
            self._log.warning("unsettled", ids=[each.id for each in messages], cause=str(error))
        except Exception:
            self._log.exception("unsettled", ids=[each.id for each in messages])
        finally:
            renewal.cancel()

    async def _renew(self, messages: Sequence[Received]) -> None:
        while True:
            await asyncio.sleep(self._visibility / 2)
            with suppress(Unavailable):
                await self._queue.change_visibility(messages, self._visibility)

    # Settling

    async def _settle(self, messages: Sequence[Received], verdicts: Sequence[Verdict]) -> None:
        done: list[Received] = []
        poison: list[tuple[Received, str]] = []
        later: dict[float, list[Received]] = defaultdict(list)
        # One draw for those that failed together: they come back as a batch.
        backoffs: dict[int, float] = {}
        outage: Unavailable | None = None
        for message, verdict in zip(messages, verdicts, strict=True):
            count = message.receive_count
            if verdict is None or isinstance(verdict, AlreadyDone):
                self._poison_run = 0
                done.append(message)
            elif isinstance(verdict, Retry):
                later[min(verdict.after, MAX_VISIBILITY)].append(message)
            elif isinstance(verdict, Poison) and self._admits_poison():
                poison.append((message, verdict.reason))
            else:
                if isinstance(verdict, Unavailable):
                    outage = verdict
                if count not in backoffs:
                    backoffs[count] = self._rules.backoff.delay(count, self._draw())
                later[backoffs[count]].append(message)
        if outage is None:
            self._outages = 0
        else:
            self._note_outage(outage)
        await self._carry_out(done, poison, later)

    async def _carry_out(
        self,
        done: Sequence[Received],
        poison: Sequence[tuple[Received, str]],
        later: Mapping[float, Sequence[Received]],
    ) -> None:
        """Tell the queue, all at once, so that it may do it in one commit."""
        for message, reason in poison:
            self._log.warning("poison", id=message.id, reason=reason)
        await asyncio.gather(
            self._queue.delete(done),
            *(self._queue.dead_letter(each, reason, self.stage) for each, reason in poison),
            *(self._queue.change_visibility(some, after) for after, some in later.items()),
        )
        self.counters.done += len(done)
        self.counters.dead += len(poison)
        self.counters.retried += sum(map(len, later.values()))

    def _admits_poison(self) -> bool:
        """Count one more poisoned message; False once the consumer is halted by them."""
        if self._state.name == "halted":
            return False
        self._poison_run += 1
        if self._poison_run >= self._rules.poison_run:
            self._turn_to("halted", f"{self._poison_run} messages in a row were poison")
            self._log.critical("halted", cause=self._state.detail)
        return True

    async def _give_back(self, messages: Sequence[Received]) -> None:
        with suppress(Unavailable):
            await self._queue.change_visibility(messages, 0)

    async def _let_go(self) -> None:
        """End what still runs and make its messages visible again."""
        tasks: set[asyncio.Task[None]] = set(self._in_hand)
        left = [message for messages in self._in_hand.values() for message in messages]
        if self._intake is not None:
            tasks.add(self._intake)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        if left:
            self._log.info("given_back", ids=[each.id for each in left])
            await self._give_back(left)

    # State

    def _note_outage(self, error: Unavailable) -> None:
        self._outages += 1
        self._down = error
        self._wait_for(error)

    def _wait_for(self, error: Unavailable) -> None:
        if self._state.name == "running":
            self._log.warning("waiting", dependency=error.dependency, cause=error.detail)
        if self._state.name != "halted":
            self._turn_to("waiting", error.dependency)

    def _recover(self) -> None:
        if self._state.name == "waiting":
            self._log.info("recovered", dependency=self._state.detail)
            self._turn_to("running")

    def _turn_to(self, name: StateName, detail: str = "") -> None:
        """Enter a state; `since` stays where it is the same."""
        if (self._state.name, self._state.detail) != (name, detail):
            self._state = State(name, self._clock(), detail)

"""Activity events to their sink: at least once, in order within a call.

The ledger leases each call's oldest undelivered event only, so the next one of that call is not
sent before this one was taken, by whichever relay. A call whose event is refused waits alone.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from outdial.core.retry import Backoff
from outdial.errors import Poison, Retryable, Unavailable
from outdial.ports.outbox import ActivityOutbox, Delivered, Delivery
from outdial.ports.sink import ActivitySink
from outdial.relay.circuit import Circuit
from outdial.telemetry import DELIVERIES

log = structlog.get_logger(__name__)

_BACKOFF = Backoff(base=1.0, ceiling=300.0)
_PROBING = Backoff(base=1.0, ceiling=30.0)


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """Times in seconds.

    `at_once`: deliveries under way. `lease`: how long a leased call is this relay's; a delivery
    ends in half of it, so that no other relay sends the next event meanwhile. `backoff`: of one
    call. `give_up`, `give_up_tries`: an event is parked when it has waited and failed that much,
    unless the whole sink is down. `down_after`: calls failing in a row that mean it is down;
    `probing`: how often it is asked then.
    """

    at_once: int = 50
    lease: float = 30.0
    backoff: Backoff = _BACKOFF
    give_up: float = 3 * 86_400.0
    give_up_tries: int = 10
    down_after: int = 10
    probing: Backoff = _PROBING


class Delivering:
    """Delivers activity events; `round` is repeated by the stage."""

    def __init__(  # noqa: PLR0913 - what time and chance are is passed in
        self,
        outbox: ActivityOutbox,
        sink: ActivitySink,
        *,
        settled: Callable[[], None],
        rules: DeliveryRules | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`settled` is called when a delivery has ended, and the next round has work.

        `clock`: ms since the epoch. `draw`: random in [0, 1).
        """
        self._outbox = outbox
        self._sink = sink
        self._settled = settled
        self._rules = rules or DeliveryRules()
        self._clock = clock
        self._draw = draw
        self._circuit = Circuit(
            self._rules.down_after, self._rules.probing, monotonic=monotonic, draw=draw
        )
        self._under_way: set[asyncio.Task[Delivered]] = set()
        self._results: list[Delivered] = []
        self._trouble: Unavailable | None = None

    async def check(self) -> None:
        """Raise what the sink said last, where it is down as a whole."""
        if self._circuit.is_open and self._trouble is not None:
            raise self._trouble

    async def round(self) -> int:
        """Settle what has ended, begin what there is room for; how many of both.

        Raises `Unavailable` where the ledger does not answer; results are kept then.
        """
        settled = await self._settle()
        held = len(self._under_way) + len(self._results)
        room = self._circuit.room(self._rules.at_once - held, len(self._under_way))
        if room == 0:
            return settled
        leased = await self._outbox.lease_deliveries(room, self._rules.lease)
        for delivery in leased:
            task = asyncio.create_task(self._deliver(delivery))
            self._under_way.add(task)
            task.add_done_callback(self._ended)
        return settled + len(leased)

    async def finish(self, grace: float) -> None:
        """Wait up to `grace` seconds for what is under way, and settle what has ended."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=grace)
        await self._settle()

    async def abandon(self) -> None:
        """Let go of what is still under way.

        It stays leased for a while and is then delivered again, under the same id.
        """
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _settle(self) -> int:
        ended = [task for task in self._under_way if task.done()]
        self._under_way.difference_update(ended)
        self._results += [task.result() for task in ended]
        results = self._results
        if results:
            await self._outbox.settle(results)
            self._results = []
        return len(results)

    def _ended(self, _: asyncio.Task[Delivered]) -> None:
        self._settled()

    async def _deliver(self, delivery: Delivery) -> Delivered:
        was_open = self._circuit.is_open
        try:
            async with asyncio.timeout(self._rules.lease / 2):
                await self._sink.deliver(delivery.event_id, delivery.event)
        except Poison as error:
            self._circuit.answered()
            result = self._failed(delivery, error.reason)
        except (Retryable, TimeoutError) as error:
            self._circuit.failed(delivery.call_id)
            self._trouble = _trouble(error)
            result = self._failed(delivery, str(self._trouble))
        else:
            self._circuit.answered()
            DELIVERIES.labels("taken").inc()
            result = Delivered(delivery)
        if was_open != self._circuit.is_open:
            log.warning("sink_down" if self._circuit.is_open else "sink_answers")
        return result

    def _failed(self, delivery: Delivery, reason: str) -> Delivered:
        tries = delivery.tries + 1
        waited = self._clock() - delivery.waiting_since
        park = (
            waited >= self._rules.give_up * 1000
            and tries >= self._rules.give_up_tries
            and not self._circuit.is_open
        )
        DELIVERIES.labels("parked" if park else "failed").inc()
        log.warning(
            "undeliverable" if park else "not_delivered",
            event_id=delivery.event_id,
            call_id=delivery.call_id,
            tries=tries,
            cause=reason,
        )
        # A parked event no longer stands in the way of the call's next one.
        delay = 0.0 if park else self._rules.backoff.delay(tries, self._draw())
        return Delivered(delivery, error=reason, retry_ms=round(delay * 1000), park=park)


def _trouble(error: Retryable | TimeoutError) -> Unavailable:
    if isinstance(error, Unavailable):
        return error
    return Unavailable("activity sink", str(error) or "no answer")

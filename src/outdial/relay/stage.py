"""The stage: one loop a thing to move."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from outdial.errors import Unavailable
from outdial.ports.outbox import ActivityOutbox, DueCalls
from outdial.ports.queue import Queue
from outdial.ports.sink import ActivitySink
from outdial.relay.deliveries import Delivering, DeliveryRules
from outdial.relay.due_calls import Publishing
from outdial.relay.rounds import Pace, Rounds

#: Seconds that deliveries under way get to end when the relay stops.
GRACE_S = 5.0
_PUBLISHING_PACE = Pace()
#: Each event of a call waits for the one before, so rounds are short while there is work; and
#: somebody waits to hear what happened.
_DELIVERY_PACE = Pace(least=0.02, most=0.25)


class Relay:
    """Runs until `stop`. Without a sink, activity events wait in the ledger."""

    def __init__(  # noqa: PLR0913 - its neighbours, then what time and chance are
        self,
        due: DueCalls,
        activity: ActivityOutbox,
        sink: ActivitySink | None,
        call_queue: Queue,
        *,
        ahead: int,
        publishing_pace: Pace = _PUBLISHING_PACE,
        delivery_pace: Pace = _DELIVERY_PACE,
        delivery_rules: DeliveryRules | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`ahead`: see `due_calls.calls_ahead`. `clock`: ms since the epoch.

        `monotonic`: seconds. `draw`: random in [0, 1).
        """
        self._publishing = Publishing(due, call_queue, ahead=ahead, monotonic=monotonic)
        publish = Rounds("due calls", self._publishing.round, pace=publishing_pace, draw=draw)
        self._rounds = [publish]
        self._delivering: Delivering | None = None
        if sink is not None:
            self._delivering = Delivering(
                activity,
                sink,
                settled=self._nudge_delivering,
                rules=delivery_rules,
                clock=clock,
                monotonic=monotonic,
                draw=draw,
            )
            self._rounds.append(
                Rounds("activity events", self._delivering.round, pace=delivery_pace, draw=draw)
            )

    @property
    def checks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """For `/readyz`: each raises `Unavailable` while what it names does not go on."""
        found = {rounds.name: rounds.check for rounds in self._rounds}
        return found | ({} if self._delivering is None else {"sink": self._delivering.check})

    def stop(self) -> None:
        """Begin nothing more; `run` returns when what is under way has ended."""
        for rounds in self._rounds:
            rounds.wake.stop()

    async def run(self) -> None:
        """Move things until `stop`. A fault of ours in one loop ends them all, loudly."""
        try:
            async with asyncio.TaskGroup() as group:
                for rounds in self._rounds:
                    group.create_task(rounds.run())
            await self._finish()
        finally:
            if self._delivering is not None:
                await self._delivering.abandon()

    async def _finish(self) -> None:
        # What can't be written now is found by its lease, or by its age, later.
        with suppress(Unavailable):
            await self._publishing.give_back()
        if self._delivering is not None:
            with suppress(Unavailable):
                await self._delivering.finish(GRACE_S)

    def _nudge_delivering(self) -> None:
        self._rounds[-1].wake.nudge()

"""What nobody owns any more: attempts whose lease is over, and second calls nobody has ended.

They come straight from the ledger, not through the call queue: a hint is received only where a
line is free and dialing goes on, and these need neither.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from outdial.core.retry import Backoff
from outdial.errors import Unavailable
from outdial.ports.dialing import Claim, Dialing, SecondDial
from outdial.ports.platform import VoicePlatform

#: Seconds between two looks.
INTERVAL = 1.0
#: Attempts looked up at once; Retell's list is no cheap question.
AT_ONCE = 10
_BACKOFF = Backoff(base=1.0, ceiling=30.0)

log = structlog.get_logger(__name__)


class Doubts:
    """Looks again and again; any worker takes over from any other."""

    def __init__(
        self,
        dialing: Dialing,
        platform: VoicePlatform,
        carry_out: Callable[[Claim], Awaitable[None]],
        interval: float = INTERVAL,
    ) -> None:
        """`carry_out` finds out about one attempt, and records it. `interval` in seconds."""
        self._dialing = dialing
        self._platform = platform
        self._carry_out = carry_out
        self._interval = interval
        self._under_way: set[asyncio.Task[None]] = set()
        self._looking = False

    @property
    def in_hand(self) -> int:
        """Attempts that are being settled, and one for a look at what there is."""
        return sum(not task.done() for task in self._under_way) + self._looking

    async def run(self) -> None:
        """Until cancelled; what is under way then passes on with its lease."""
        failures = 0
        try:
            while True:
                self._looking = True
                try:
                    await self.round()
                except Unavailable as error:
                    failures += 1
                    log.warning("doubts wait", cause=str(error))
                else:
                    failures = 0
                finally:
                    self._looking = False
                late = _BACKOFF.delay(failures, random.random()) if failures else 0.0  # noqa: S311
                await asyncio.sleep(self._interval + late)
        finally:
            for task in self._under_way:
                task.cancel()

    async def round(self) -> None:
        """Take over what there is room for, and end second calls. Raises `Unavailable`."""
        for task in [task for task in self._under_way if task.done()]:
            self._under_way.discard(task)
            # A fault of ours ends the stage, as it does anywhere.
            task.result()
        free = AT_ONCE - len(self._under_way)
        if free > 0:
            for claim in await self._dialing.take_over(free):
                self._under_way.add(asyncio.create_task(self._settle(claim)))
        for second in await self._dialing.second_dials(AT_ONCE):
            await self._end(second)

    async def _settle(self, claim: Claim) -> None:
        await self._carry_out(claim)

    async def _end(self, second: SecondDial) -> None:
        try:
            await self._platform.stop_call(second.retell_call_id)
        except Unavailable as error:
            log.warning("second call not ended", attempt_id=second.attempt_id, cause=str(error))
            return
        await self._dialing.stopped(second)
        log.warning("second call ended", attempt_id=second.attempt_id)

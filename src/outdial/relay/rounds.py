"""The life of a loop of the relay: rounds, rests, and waiting for a dependency that is down."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from outdial.core.retry import Backoff
from outdial.errors import Unavailable
from outdial.relay.wake import Wake

log = structlog.get_logger(__name__)

#: Ready work waits for neither; a dependency that is down is asked again after some seconds.
_PROBING = Backoff(base=0.5, ceiling=10.0)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two rounds: at least `least`, after news; up to `most`, while idle."""

    least: float = 0.25
    most: float = 1.0


class Rounds:
    """Repeats `work` until stopped; it returns how much it moved, and may raise `Unavailable`."""

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[int]],
        *,
        pace: Pace,
        probing: Backoff = _PROBING,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`draw`: random in [0, 1), for the back-off."""
        self.name = name
        self.wake = Wake()
        self._work = work
        self._pace = pace
        self._probing = probing
        self._draw = draw
        self._trouble: Unavailable | None = None

    async def check(self) -> None:
        """Return where the last round went well; raise what hindered it otherwise."""
        if self._trouble is not None:
            raise self._trouble

    async def run(self) -> None:
        """Go round until `wake.stop()`; the round under way is finished."""
        idle = self._pace.least
        failures = 0
        while not self.wake.stopped:
            try:
                moved = await self._work()
            except Unavailable as error:
                failures += 1
                self._note(error)
                await self.wake.until_stopped(self._probing.delay(failures, self._draw()))
                continue
            failures = 0
            self._note(None)
            # An idle loop asks ever less often, down to once in `most` seconds.
            idle = self._pace.least if moved else min(2 * idle, self._pace.most)
            await self.wake.rest(self._pace.least, idle)

    def _note(self, trouble: Unavailable | None) -> None:
        if trouble is not None and self._trouble is None:
            log.warning("waiting", loop=self.name, cause=str(trouble))
        elif trouble is None and self._trouble is not None:
            log.info("recovered", loop=self.name, dependency=self._trouble.dependency)
        self._trouble = trouble

"""So many questions a second, and not more."""

import asyncio
from collections.abc import Awaitable, Callable


class Pacing:
    """Keeps the questions of one reconciler apart."""

    def __init__(
        self,
        rate: float,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`rate` in questions a second; `monotonic` in seconds."""
        self._gap = 1 / rate
        self._monotonic = monotonic
        self._sleep = sleep
        self._next = 0.0

    async def turn(self) -> None:
        """Return when the next question may be asked."""
        now = self._monotonic()
        at = max(now, self._next)
        self._next = at + self._gap
        if at > now:
            await self._sleep(at - now)

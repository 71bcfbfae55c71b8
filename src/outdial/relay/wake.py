"""Between two rounds of a loop: a rest that news cuts short."""

import asyncio
from contextlib import suppress


class Wake:
    """A loop rests here; others nudge or stop it."""

    def __init__(self) -> None:
        """Neither nudged nor stopped."""
        self._nudged = asyncio.Event()
        self._stopped = asyncio.Event()

    @property
    def stopped(self) -> bool:
        """Whether the loop is to end after its round."""
        return self._stopped.is_set()

    def nudge(self) -> None:
        """There may be something to do."""
        self._nudged.set()

    def stop(self) -> None:
        """End every rest at once."""
        self._stopped.set()
        self._nudged.set()

    async def rest(self, least: float, most: float) -> None:
        """`most` seconds, or `least` where a nudge has come by then, or none once stopped.

        `least` lets news that come close together be one round's work.
        """
        if await _set_within(self._stopped, least):
            return
        await _set_within(self._nudged, most - least)
        self._nudged.clear()

    async def until_stopped(self, seconds: float) -> None:
        """Rest that long whatever the news: for a dependency that is down."""
        await _set_within(self._stopped, seconds)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()

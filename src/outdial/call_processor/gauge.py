"""How many lines Retell says are in use, every ten seconds; and whether it can be reached again."""

import asyncio
import random

import structlog

from outdial.core.circuit import CircuitState
from outdial.core.retry import Backoff
from outdial.errors import Unavailable
from outdial.ports.dialing import Dialing
from outdial.ports.platform import VoicePlatform

#: DESIGN: "corrected by get-concurrency every 10 s".
INTERVAL = 10.0
#: And while dialing is stopped, or Retell does not answer, with a back-off on top for the latter.
PROBING = 2.0
_BACKOFF = Backoff(base=1.0, ceiling=30.0)

log = structlog.get_logger(__name__)


class Gauge:
    """Corrects the ledger's count of open lines by the platform's own."""

    def __init__(
        self, dialing: Dialing, platform: VoicePlatform, interval: float = INTERVAL
    ) -> None:
        """`interval` in seconds."""
        self._dialing = dialing
        self._platform = platform
        self._interval = interval

    async def run(self) -> None:
        """Measure until cancelled."""
        failures = 0
        while True:
            pause = min(self._interval, PROBING)
            try:
                state = await self.measure()
            except Unavailable as error:
                failures += 1
                log.warning("concurrency not measured", cause=str(error))
                pause += _BACKOFF.delay(failures, random.random())  # noqa: S311
            else:
                failures = 0
                if state is CircuitState.CLOSED:
                    pause = self._interval
            await asyncio.sleep(pause)

    async def measure(self) -> CircuitState:
        """Ask once, and tell the ledger: an answer proves the key, and that Retell is there."""
        asked_at = await self._dialing.now()
        lines = await self._platform.concurrency()
        await self._dialing.measured(
            lines.current, lines.limit, lines.reserved_inbound, asked_at=asked_at
        )
        return await self._dialing.reached()

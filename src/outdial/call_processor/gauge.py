"""How many lines Retell says are in use, every ten seconds; and whether its circuit may close."""

import asyncio
import random

import structlog

from outdial.core.retry import Backoff
from outdial.errors import Unavailable
from outdial.ports.dialing import Dialing
from outdial.ports.platform import VoicePlatform

#: DESIGN: "corrected by get-concurrency every 10 s".
INTERVAL = 10.0
_BACKOFF = Backoff(base=INTERVAL, ceiling=120.0)

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
        """Measure until cancelled. An answer proves that the workspace's key works again."""
        failures = 0
        while True:
            try:
                await self.measure()
            except Unavailable as error:
                failures += 1
                log.warning("concurrency not measured", cause=str(error))
            else:
                failures = 0
            late = _BACKOFF.delay(failures, random.random()) if failures else 0.0  # noqa: S311
            await asyncio.sleep(self._interval + late)

    async def measure(self) -> None:
        """Ask once, and tell the ledger."""
        asked_at = await self._dialing.now()
        lines = await self._platform.concurrency()
        await self._dialing.measured(
            lines.current, lines.limit, lines.reserved_inbound, asked_at=asked_at
        )
        permits = await self._dialing.permits()
        circuit = permits.stopped is not None and permits.stopped.startswith("circuit")
        if circuit and await self._dialing.close_circuit():
            log.info("circuit closed")

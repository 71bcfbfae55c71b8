"""The stage: rounds of asking and searching, and what came of them for the report."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from outdial.core.retry import Backoff
from outdial.errors import Unavailable
from outdial.ports.platform import VoicePlatform
from outdial.ports.reconciliation import DriftReport, Reconciliation
from outdial.reconciler.asking import BATCH, Asking, Rules
from outdial.reconciler.pacing import Pacing
from outdial.reconciler.searching import Searching

log = structlog.get_logger(__name__)

#: Seconds between two looks for what is silent, at most.
_REST = 10.0
#: A dependency that is down, and a key that is doubted, in seconds.
_PROBING = Backoff(base=2.0, ceiling=120.0)
_DOUBTING = Backoff(base=60.0, ceiling=600.0)


class Reconciler:
    """Runs until `stop`; or `once`."""

    def __init__(  # noqa: PLR0913 - its neighbours, then what time and chance are
        self,
        ledger: Reconciliation,
        platform: VoicePlatform,
        rules: Rules,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`monotonic` in seconds; `draw`: random in [0, 1)."""
        pacing = Pacing(rules.rate, monotonic, sleep)
        self._ledger = ledger
        self._asking = Asking(ledger, platform, rules, pacing, draw)
        self._searching = Searching(ledger, platform, rules, pacing)
        self._rest = min(_REST, max(0.25, rules.after / 4))
        self._draw = draw
        self._stopping = asyncio.Event()
        self._away: Unavailable | None = None
        self._noted: str | None = None

    async def check(self) -> None:
        """Raise where Retell can't be asked, or the key is doubted; for `/readyz`."""
        trouble = self._away or self._asking.trouble
        if trouble is not None:
            raise trouble

    async def stop(self) -> None:
        """`run` returns when the round under way has ended."""
        self._stopping.set()

    async def run(self) -> None:
        """Reconcile until `stop`."""
        failures = doubts = 0
        while not self._stopping.is_set():
            try:
                await self._searching.round()
                asked = await self._asking.round()
                await self._note(asked)
            except Unavailable as error:
                failures += 1
                await self._note_away(error)
                await self._pause(_PROBING.delay(failures, self._draw()))
                continue
            failures = 0
            doubts = doubts + 1 if self._asking.trouble is not None else 0
            if doubts:
                await self._pause(_DOUBTING.delay(doubts, 0.5 + self._draw() / 2))
            elif asked < BATCH:
                await self._pause(self._rest)

    async def once(self, tell: Callable[[int], None] = lambda _: None) -> DriftReport:
        """Search, and ask about everything that is silent, whenever it is due; then the report.

        `tell` hears how many were asked about so far. Raises `Unavailable` where Retell or the
        ledger does not answer.
        """
        began = await self._ledger.now()
        await self._searching.round(every_ms=0)
        total = 0
        while asked := await self._asking.round(unasked_since=began):
            total += asked
            tell(total)
            if self._asking.trouble is not None:
                break
        await self._note(1)
        return await self._ledger.report()

    async def _note(self, asked: int) -> None:
        if self._away is not None:
            log.info("recovered", dependency=self._away.dependency)
            self._away = None
        trouble = self._asking.trouble
        told = None if trouble is None else str(trouble)
        if asked or told != self._noted:
            await self._ledger.note(told)
            self._noted = told

    async def _note_away(self, error: Unavailable) -> None:
        if self._away is None:
            log.warning("waiting", cause=str(error))
        self._away = error
        if str(error) != self._noted:
            with suppress(Unavailable):
                await self._ledger.note(str(error))
                self._noted = str(error)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

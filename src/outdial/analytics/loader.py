"""Moves changed rows from the ledger to the warehouse.

At once while much waits, otherwise a look a second. What was loaded is marked in the ledger only
after the warehouse has it, so a crash in between loads it again, which changes nothing.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from outdial.core.retry import Backoff
from outdial.errors import Unavailable
from outdial.ports.outbox import WarehouseOutbox
from outdial.ports.warehouse import Warehouse

_log = structlog.get_logger(__name__)

#: Rows of each kind a load: a load takes some 50 ms, and every query waits behind it.
BATCH = 1_000
#: Seconds between two looks when little waits.
INTERVAL = 1.0
_BACKOFF = Backoff(base=0.5, ceiling=15.0)


class Progress(Protocol):
    """Told during a rebuild: rows loaded so far, and rows that still wait."""

    def __call__(self, loaded: int, waiting: int) -> None:
        """Must not block."""
        ...


@dataclass(slots=True)
class Counters:
    """Since the start. `failures`: in a row, at the moment."""

    rows: int = 0
    loads: int = 0
    failures: int = 0


class Loader:
    """One loader a warehouse: several do no harm and no good."""

    def __init__(
        self,
        outbox: WarehouseOutbox,
        warehouse: Warehouse,
        *,
        interval: float = INTERVAL,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`clock`: now in ms, for freshness; the ledger's clock, or one in step with it."""
        self.counters = Counters()
        self._outbox = outbox
        self._warehouse = warehouse
        self._interval = interval
        self._clock = clock
        # A rebuild and the loop must not load at the same time.
        self._turn = asyncio.Lock()

    async def load_once(self) -> bool:
        """Load one batch; whether more waits. Raises `Unavailable`."""
        async with self._turn:
            return await self._load_batch()

    async def drain(self) -> None:
        """Load until nothing waits. Raises `Unavailable`."""
        while await self.load_once():
            pass

    async def run(self, stop: asyncio.Event) -> None:
        """Load until `stop` is set; outages are waited out."""
        while not stop.is_set():
            await _sleep(stop, await self._step())

    async def rebuild(self, progress: Progress) -> int:
        """Empty the warehouse and load everything anew; rows loaded. Raises `Unavailable`.

        Interrupted half-way it is harmless: what is missing still waits in the ledger.
        """
        async with self._turn:
            # In this order: were it the other way round, a crash in between would leave the
            # warehouse empty of what the ledger takes for loaded.
            await self._outbox.forget_loaded()
            await self._warehouse.clear()
            before = self.counters.rows
            more = True
            while more:
                more = await self._load_batch()
                loaded = self.counters.rows - before
                progress(loaded, await self._outbox.waiting() if more else 0)
            return self.counters.rows - before

    async def _step(self) -> float:
        try:
            more = await self.load_once()
        except Unavailable as error:
            self.counters.failures += 1
            if self.counters.failures == 1:
                _log.warning("warehouse load waits", dependency=error.dependency, why=error.detail)
            return max(0.05, _BACKOFF.delay(self.counters.failures, random.random()))  # noqa: S311 - jitter
        self.counters.failures = 0
        return 0.0 if more else self._interval

    async def _load_batch(self) -> bool:
        asked_at = self._clock()
        changes = await self._outbox.changes(BATCH)
        # Short of the limit in every kind: everything committed before we asked is in here.
        more = max(len(changes.calls), len(changes.attempts), len(changes.activity)) >= BATCH
        as_of = None if more else asked_at
        await self._warehouse.load(changes.calls, changes.attempts, changes.activity, as_of)
        if changes.count:
            await self._outbox.loaded(changes)
            self.counters.rows += changes.count
            self.counters.loads += 1
        return more


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    if seconds > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)
    else:
        await asyncio.sleep(0)

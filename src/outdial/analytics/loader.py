"""Moves changed rows from the ledger to the warehouse.

At once while much waits, otherwise a look a second; patiently where every load costs money. What
was loaded is marked in the ledger only after the warehouse has it, so a crash in between loads it
again, which changes nothing.
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
from outdial.errors import ConfigurationError, Unavailable
from outdial.ports.outbox import WarehouseOutbox
from outdial.ports.warehouse import Warehouse

_log = structlog.get_logger(__name__)

_BACKOFF = Backoff(base=0.5, ceiling=15.0)


class Progress(Protocol):
    """Told during a rebuild: rows loaded so far, and rows that still wait."""

    def __call__(self, loaded: int, waiting: int) -> None:
        """Must not block."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """When to load, and how much at once.

    The defaults are for a warehouse of one's own: a load takes some 50 ms there, and every query
    waits behind it. With `patience`, nothing is loaded before `enough` rows wait, or one of them
    has waited so many seconds: a warehouse that is paid for by the minute is then asleep between.
    """

    batch: int = 1_000
    """Rows of each kind a load."""
    interval: float = 1.0
    """Seconds between two looks when little waits."""
    enough: int = 1
    patience: float = 0.0


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
        pace: Pace | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock`: now in ms, for freshness; the ledger's clock, or one in step with it.

        `monotonic`: seconds.
        """
        self.counters = Counters()
        self._outbox = outbox
        self._warehouse = warehouse
        self._pace = pace or Pace()
        self._clock = clock
        self._monotonic = monotonic
        self._upgraded = False
        # Since when something waits; and whether what waits is being loaded to its end.
        self._waits_since: float | None = None
        self._draining = False
        self._trouble: Unavailable | None = None
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
        """Upgrade the warehouse, then load until `stop` is set; outages are waited out."""
        while not stop.is_set():
            await _sleep(stop, await self._step())

    async def check(self) -> None:
        """For `/readyz`: return where loading goes on, raise what hinders it otherwise."""
        if self._trouble is not None:
            raise self._trouble

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
            if not self._upgraded:
                await self._warehouse.upgrade()
                self._upgraded = True
            more = await self._worth_loading() and await self.load_once()
        except (ConfigurationError, Unavailable) as error:
            # Wrong settings are waited out as well: whoever mends rights or roles there need not
            # start us again, and nothing else in this process is to stop for the warehouse.
            told = error if isinstance(error, Unavailable) else Unavailable("warehouse", str(error))
            self._trouble = told
            self.counters.failures += 1
            if self.counters.failures == 1:
                _log.warning("warehouse load waits", dependency=told.dependency, why=told.detail)
            return max(0.05, _BACKOFF.delay(self.counters.failures, random.random()))  # noqa: S311 - jitter
        self.counters.failures = 0
        self._trouble = None
        return 0.0 if more else self._pace.interval

    async def _worth_loading(self) -> bool:
        if self._pace.patience == 0 or self._draining:
            return True
        asked_at = self._clock()
        waiting = await self._outbox.waiting()
        if waiting == 0:
            self._waits_since = None
            await self._warehouse.load([], [], [], asked_at)
            return False
        now = self._monotonic()
        if self._waits_since is None:
            self._waits_since = now
        waited = now - self._waits_since
        self._draining = waiting >= self._pace.enough or waited >= self._pace.patience
        return self._draining

    async def _load_batch(self) -> bool:
        asked_at = self._clock()
        changes = await self._outbox.changes(self._pace.batch)
        # Short of the limit in every kind: everything committed before we asked is in here.
        most = max(len(changes.calls), len(changes.attempts), len(changes.activity))
        more = most >= self._pace.batch
        as_of = None if more else asked_at
        await self._warehouse.load(changes.calls, changes.attempts, changes.activity, as_of)
        if changes.count:
            await self._outbox.loaded(changes)
            self.counters.rows += changes.count
            self.counters.loads += 1
        if not more:
            self._draining, self._waits_since = False, None
        return more


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    if seconds > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)
    else:
        await asyncio.sleep(0)

"""From the real ledger to the warehouse: nothing is left out, whatever fails in between."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uuid_utils

from outdial.adapters.database import Ledger
from outdial.adapters.duckdb import DuckDBWarehouse
from outdial.analytics.loader import Loader, Pace
from outdial.analytics.records import story
from outdial.analytics.scope import OwnRows
from outdial.errors import ConfigurationError, Unavailable
from outdial.ports.intake import NewCall
from outdial.ports.warehouse import Row
from tests.flow.relay_ledger import accept, complete, open_ledger


class FailingWarehouse(DuckDBWarehouse):
    """Away for as many loads as `failures` says; `loaded` is set by each that succeeds."""

    failures = 0

    def __init__(self, path: Path) -> None:
        """As the real one."""
        super().__init__(path)
        self.loaded = asyncio.Event()

    async def load(
        self,
        calls: Sequence[Row],
        attempts: Sequence[Row],
        activity: Sequence[Row],
        as_of: int | None,
    ) -> None:
        """Load, or fail as the adapter does."""
        if self.failures > 0:
            self.failures -= 1
            raise Unavailable("warehouse", "the disk is full")
        await super().load(calls, attempts, activity, as_of)
        if calls:
            self.loaded.set()


@dataclass
class Line:
    """A ledger, a warehouse, and the loader between them, whose clocks stand at `now`."""

    ledger: Ledger
    warehouse: FailingWarehouse
    now: int = 1_000
    seconds: float = 0.0
    loader: Loader = field(init=False)

    def __post_init__(self) -> None:
        """Join them."""
        self.join(Pace(interval=0.01))

    def join(self, pace: Pace) -> None:
        """A loader of this pace between the two."""
        self.loader = Loader(
            self.ledger.warehouse,
            self.warehouse,
            pace=pace,
            clock=lambda: self.now,
            monotonic=lambda: self.seconds,
        )

    async def loaded(self) -> set[str]:
        """Ids of the calls in the warehouse."""
        _, rows = await self.warehouse.query("SELECT call_id FROM calls")
        return {row[0] for row in rows}


@pytest.fixture
async def line(database_url: str, tmp_path: Path) -> AsyncIterator[Line]:
    """An empty ledger and an empty warehouse."""
    warehouse = FailingWarehouse(tmp_path / "warehouse.duckdb")
    await warehouse.upgrade()
    async with open_ledger(database_url) as ledger:
        yield Line(ledger, warehouse)
    await warehouse.close()


async def test_what_happened_to_a_call_arrives_whole(line: Line) -> None:
    """A completed call, its attempt and its three events are in the warehouse as in the ledger."""
    ids = await accept(line.ledger, 2)
    noted = NewCall(
        str(uuid_utils.uuid7()),
        "acme",
        "+14155550123",
        from_number="+14155550100",
        agent_id="agent_1",
        metadata={"job": "ü", "list": [1, None]},
    )
    await line.ledger.intake.accept([noted], publish=False)
    ids.insert(0, noted.id)
    await complete(line.ledger, ids)
    await line.loader.drain()
    found = await story(OwnRows(line.warehouse, "acme"), ids[0])
    assert found is not None
    assert found.call["status"] == "completed"
    assert found.call["to_number"] == "+14155550123"
    assert found.attempts[0]["connected"] is True
    assert found.attempts[0]["outcome"] == "answered"
    assert found.attempts[0]["metadata"] == {"job": "ü", "list": [1, None]}
    assert [entry["kind"] for entry in found.timeline] == [
        "accepted",
        "voice_call.initiated",
        "voice_call.started",
        "voice_call.completed",
    ]
    assert await line.ledger.warehouse.waiting() == 0


async def test_changes_replace_what_was_loaded(line: Line) -> None:
    """A call loaded while it waits is loaded again when it has ended, once in all."""
    ids = await accept(line.ledger, 2)
    await line.loader.drain()
    await complete(line.ledger, ids)
    await line.loader.drain()
    _, rows = await line.warehouse.query("SELECT status, count(*) FROM calls GROUP BY 1")
    assert rows == [("completed", 2)]


async def test_freshness_moves_only_when_nothing_waits(line: Line) -> None:
    """While a batch is full more may wait, and the answer is no fresher than before."""
    line.join(Pace(batch=4))
    await accept(line.ledger, 6)
    assert await line.loader.load_once()
    assert await line.warehouse.as_of() is None
    line.now = 2_000
    assert not await line.loader.load_once()
    assert await line.warehouse.as_of() == 2_000
    line.now = 3_000
    await line.loader.load_once()
    assert await line.warehouse.as_of() == 3_000


async def test_an_outage_loses_nothing(line: Line) -> None:
    """A load that failed is done again; the loop goes on by itself."""
    line.warehouse.failures = 2
    ids = await accept(line.ledger, 5)
    stop = asyncio.Event()
    running = asyncio.create_task(line.loader.run(stop))
    await asyncio.wait_for(line.warehouse.loaded.wait(), 30)
    stop.set()
    await running
    assert await line.loaded() == set(ids)
    assert line.loader.counters.failures == 0


async def test_a_crash_before_the_mark_repeats_the_load(line: Line) -> None:
    """What is in the warehouse and not marked in the ledger is loaded again, and is there once."""
    ids = await accept(line.ledger, 5)
    changes = await line.ledger.warehouse.changes(100)
    await line.warehouse.load(changes.calls, changes.attempts, changes.activity, None)
    await line.loader.drain()
    _, rows = await line.warehouse.query("SELECT count(*) FROM calls")
    assert rows == [(len(ids),)]


async def test_a_rebuild_brings_everything_back(line: Line) -> None:
    """A rebuild loads the whole ledger into an empty warehouse and tells how far it is."""
    line.join(Pace(batch=4))
    ids = await accept(line.ledger, 6)
    await complete(line.ledger, ids)
    await line.loader.drain()
    await line.warehouse.clear()
    told: list[tuple[int, int]] = []
    loaded = await line.loader.rebuild(lambda done, waiting: told.append((done, waiting)))
    assert loaded == 6 + 6 + 18
    assert await line.loaded() == set(ids)
    assert told[-1] == (loaded, 0)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


async def test_a_patient_loader_waits_for_rows_or_for_time(line: Line) -> None:
    """A warehouse that is paid for by the minute is left asleep until it is worth it."""
    line.join(Pace(batch=2, interval=5.0, enough=6, patience=60.0))
    step = line.loader._step
    assert await step() == 5.0
    assert await line.warehouse.as_of() == 1_000, "nothing waits: it is as fresh as can be"
    ids = await accept(line.ledger, 3)
    line.now = 2_000
    assert await step() == 5.0
    line.seconds = 59.0
    assert await step() == 5.0
    assert await line.loaded() == set()
    assert await line.warehouse.as_of() == 1_000
    line.seconds = 60.0
    assert await step() == 0.0, "two of three: what waits is loaded to its end"
    assert await step() == 5.0
    assert await line.loaded() == set(ids)
    ids += await accept(line.ledger, 6)
    assert await step() == 0.0, "enough wait: their time does not matter"
    while await step() == 0.0:
        pass
    assert await line.loaded() == set(ids)
    assert await line.warehouse.as_of() == 2_000


class UnreadyWarehouse(FailingWarehouse):
    """May not be upgraded, until somebody has granted it."""

    granted = False

    async def upgrade(self) -> None:
        """Refuse, or do it."""
        if not self.granted:
            raise ConfigurationError("the role may not create tables")
        await super().upgrade()


async def test_missing_rights_are_waited_out(line: Line, tmp_path: Path) -> None:
    """Whoever grants them need not restart us; until then readiness says what is missing."""
    line.warehouse = UnreadyWarehouse(tmp_path / "other.duckdb")
    line.join(Pace())
    assert await line.loader._step() < 15
    with pytest.raises(Unavailable, match="may not create tables"):
        await line.loader.check()
    line.warehouse.granted = True
    await line.loader._step()
    await line.loader.check()
    await line.warehouse.close()

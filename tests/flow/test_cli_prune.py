"""`outdial db prune`, as it is typed."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from outdial.ports.intake import NewCall
from outdial.ports.outbox import Delivered
from tests.flow.program import Program
from tests.ledger_world import World, open_world

#: A UUIDv7 of the year 2023.
OLD = "018bcfe5-6800-7000-8000-000000000001"


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A program whose ledger holds one call that ended long ago, and one of today."""
    found = Program(tmp_path)
    found.home.mkdir()

    async def fill() -> None:
        async with open_world(f"sqlite:///{found.home / 'outdial.db'}") as world:
            await _fill(world)

    asyncio.run(fill())
    return found


async def _fill(world: World) -> None:
    await world.accept()
    old = NewCall(id=OLD, tenant="acme", to_number="+12125550101")
    await world.ledger.intake.accept([old], publish=False)
    await world.ledger.intake.cancel(None, OLD)
    deliveries = await world.ledger.activity.lease_deliveries(10, 30)
    await world.ledger.activity.settle([Delivered(one) for one in deliveries])
    await world.ledger.warehouse.loaded(await world.ledger.warehouse.changes(100))
    age = text(
        "UPDATE calls SET created_at = 1700000000000, updated_at = created_at WHERE id = :id"
    )
    for _ in range(2):
        await world.ledger.database.transact(lambda c: c.execute(age, {"id": OLD}).close())


def test_it_says_what_would_go_and_then_removes_it(program: Program) -> None:
    """A dry run changes nothing; again there is nothing left."""
    there = {"calls": 1, "attempts": 0, "provider_events": 0, "activity_events": 1}
    told = program.json("db", "prune", "--keep", "90d", "--dry-run")
    assert told["dry_run"]
    assert told["removed"] == there
    assert program.run("db", "prune", "--keep", "90d").stdout.startswith("1 call removed.")
    assert program.json("db", "prune", "--keep", "90d")["removed"] == {}


@pytest.mark.parametrize("keep", ["30d", "90", "1y", "d", "-5d"])
def test_what_is_no_time_to_keep_is_refused(program: Program, keep: str) -> None:
    """Days, and more than an idempotency key lives."""
    assert "from 31d to 36500d" in program.run("db", "prune", f"--keep={keep}", code=2).stderr

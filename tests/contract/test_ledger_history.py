"""`outdial db prune`: what ended long ago goes, and nobody misses it; on both databases."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import func, select, text

from outdial.adapters.database import history
from outdial.adapters.database.audit import LedgerAudit
from outdial.adapters.database.tables import metadata
from outdial.core.call import CallStatus
from outdial.errors import ConfigurationError
from outdial.ports.inbox import Disposition
from outdial.ports.outbox import Delivered
from outdial.ports.platform import ListedCall
from tests.ledger_world import World, analyzed, open_world, retell_id, started

DAY = 86_400_000
TABLES = ("calls", "attempts", "provider_events", "activity_events", "idempotency_keys")


@pytest_asyncio.fixture
async def world(ledger_url: str) -> AsyncIterator[World]:
    """An empty ledger."""
    async with open_world(ledger_url) as opened:
        yield opened


async def _delivered(world: World) -> None:
    while deliveries := await world.ledger.activity.lease_deliveries(10, 30):
        await world.ledger.activity.settle([Delivered(one) for one in deliveries])


async def _loaded(world: World) -> None:
    while (changes := await world.ledger.warehouse.changes(100)).count:
        await world.ledger.warehouse.loaded(changes)


async def _over(world: World) -> None:
    """Delivered, loaded, and a hundred days ago."""
    await _delivered(world)
    await _loaded(world)
    world.ledger.clock.ahead += 100 * DAY


async def _prune(world: World, *, dry_run: bool = False) -> tuple[Counter[str], Counter[str]]:
    removed: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    async for batch in world.ledger.history.prune(90 * DAY, dry_run=dry_run):
        removed.update(batch.removed)
        kept.update(batch.kept)
        assert 0 <= batch.done <= 1
    return +removed, kept


async def _rows(world: World) -> dict[str, int]:
    counts = {
        table: await world.rows(select(func.count()).select_from(metadata.tables[table]))
        for table in TABLES
    }
    return {table: rows[0][0] for table, rows in counts.items() if rows[0][0]}


async def test_a_call_that_ended_long_ago_goes_with_all_its_rows(world: World) -> None:
    """In as many batches as it takes; again there is nothing left to do."""
    for number in range(3):
        _, claim = await world.placed(idempotency_key=f"k{number}", request_hash="h")
        await world.hear(started(claim), analyzed(claim))
    await _over(world)
    there = await _rows(world)
    assert (await _prune(world, dry_run=True))[0] == there
    assert await _rows(world) == there
    removed, _ = await _prune(world)
    assert removed == there
    assert await _rows(world) == {}
    assert await _prune(world) == (Counter(), Counter())


async def test_batches_go_on_where_the_last_one_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that are kept hold up none behind them."""
    monkeypatch.setattr(history, "_BATCH", 2)
    for number in range(7):
        call_id = await world.accept()
        if number % 3:
            await world.ledger.intake.cancel(None, call_id)
    await _over(world)
    removed, kept = await _prune(world)
    assert (removed["calls"], kept) == (4, {"open or young": 3})


async def test_what_is_still_of_use_is_kept(world: World) -> None:
    """Open, young, undelivered, not loaded, provisional, or under an alarm."""
    _, claim = await world.placed()
    await world.hear(analyzed(claim))
    await world.placed()
    _, doubled = await world.placed()
    await world.hear(analyzed(doubled), started(doubled, retell_call_id="call_second"))
    await _over(world)
    unloaded = await world.accept()
    await world.ledger.intake.cancel(None, unloaded)
    await _delivered(world)
    world.ledger.clock.ahead += 100 * DAY
    undelivered = await world.accept()
    await world.ledger.intake.cancel(None, undelivered)
    await _loaded(world)
    query = text("UPDATE calls SET loaded_version = 0 WHERE id = :id")
    await world.ledger.database.transact(
        lambda connection: connection.execute(query, {"id": unloaded}).close()
    )
    world.ledger.clock.ahead += 100 * DAY
    removed, kept = await _prune(world)
    assert removed["calls"] == 1
    assert kept == {
        "open or young": 1,
        "under an alarm": 1,
        "not loaded": 1,
        "not delivered": 1,
    }


async def test_provisional_attempts_are_kept(world: World) -> None:
    """Retell's own word may still come."""
    _, claim = await world.placed()
    await world.hear(analyzed(claim))
    await _over(world)
    query = text("UPDATE attempts SET provisional = :yes")
    await world.ledger.database.transact(
        lambda connection: connection.execute(query, {"yes": True}).close()
    )
    assert await _prune(world) == (Counter(), {"provisional": 1})


async def test_nothing_younger_than_its_idempotency_key_goes(world: World) -> None:
    """Whatever is asked for: the same key would dial again."""
    call_id = await world.accept(idempotency_key="k", request_hash="h")
    await world.ledger.intake.cancel(None, call_id)
    await _delivered(world)
    await _loaded(world)
    world.ledger.clock.ahead += 20 * DAY
    removed = [batch.removed async for batch in world.ledger.history.prune(DAY)]
    assert not any(removed)


async def test_a_webhook_of_a_removed_call_is_foreign(world: World) -> None:
    """It is kept, changes nothing, raises no alarm, and goes by itself when it is old."""
    call_id, claim = await world.placed()
    await world.hear(analyzed(claim))
    await _over(world)
    await _prune(world)
    [taken] = await world.hear(analyzed(claim, event_timestamp=1_800_000_000_000))
    assert (taken.disposition, taken.alarm) == (Disposition.FOREIGN, None)
    assert await world.alarms() == []
    assert await world.ledger.intake.get(None, call_id) is None
    assert [page async for page in world.ledger.inbox.stored(call_id=call_id)] == []
    world.ledger.clock.ahead += 100 * DAY
    assert await _prune(world) == ({"provider_events": 1}, Counter())


async def test_a_removed_call_in_the_platforms_list_is_none_we_never_placed(world: World) -> None:
    """The reconciler leaves it alone, and the audit knows how far the history was removed."""
    call_id, claim = await world.placed()
    await world.hear(analyzed(claim))
    await _over(world)
    listed = ListedCall(retell_id(claim), call_id, claim.attempt_id)
    await _prune(world)
    younger = ListedCall("call_x", "ffffffff-0000-7000-8000-000000000000", "a")
    nameless = ListedCall("call_y", None, None)
    unknown = await world.ledger.reconciliation.unknown([listed, younger, nameless])
    assert unknown == [younger, nameless]
    audit = LedgerAudit(world.ledger.database, world.ledger.clock)
    assert (await audit.extent()).pruned_to == call_id


async def test_the_warehouse_is_not_rebuilt_from_less_than_it_has(world: World) -> None:
    """Loading it anew would lose what was removed here."""
    call_id = await world.accept()
    await world.ledger.warehouse.forget_loaded()
    await world.ledger.intake.cancel(None, call_id)
    await _over(world)
    assert (await _prune(world))[0]["calls"] == 1
    with pytest.raises(ConfigurationError, match="prune"):
        await world.ledger.warehouse.forget_loaded()


async def test_a_removed_keys_request_is_a_new_one(world: World) -> None:
    """Its thirty days are over."""
    call_id = await world.accept(idempotency_key="k", request_hash="h")
    await world.ledger.intake.cancel(None, call_id)
    await _over(world)
    await _prune(world)
    again = await world.accept(idempotency_key="k", request_hash="other")
    assert (await world.call(again)).status is CallStatus.QUEUED

"""What leaves the database: due calls, activity events, rows for the warehouse."""

import asyncio

from sqlalchemy import select

from outdial.adapters.database.tables import calls
from outdial.core.call import CallStatus
from outdial.ports.dialing import NotClaimed
from outdial.ports.outbox import Delivered
from tests.ledger_world import World, analyzed, started

_PUBLISHED_AT = select(calls.c.published_at)


async def due(world: World, ahead: int = 100) -> list[str]:
    """Ids that the relay would publish now."""
    return [call.call_id for call in await world.ledger.due_calls.lease_due(ahead)]


async def test_a_due_call_is_published_once(world: World) -> None:
    """However long nobody claims it, its hint is in the queue until that is known not to be so."""
    call_id = await world.accept()
    assert await due(world) == [call_id]
    assert await due(world) == []
    world.ledger.clock.ahead += 600_001
    assert await due(world) == []
    assert await world.ledger.due_calls.republish_old_hints(0) == 1
    assert await due(world) == [call_id]
    assert await due(world) == []


async def test_calls_are_published_only_so_far_ahead(world: World) -> None:
    """The backlog stays in the database."""
    for _ in range(5):
        await world.accept()
    assert len(await due(world, ahead=3)) == 3
    assert await due(world, ahead=3) == []
    assert len(await due(world, ahead=4)) == 1


async def test_lanes_take_turns(world: World) -> None:
    """A campaign of thousands doesn't hold up one of a few, nor one tenant another."""
    for _ in range(30):
        await world.accept(campaign="large")
    small = [await world.accept(campaign="small") for _ in range(2)]
    other = [await world.accept(tenant="other") for _ in range(2)]
    published = await due(world, ahead=9)
    assert set(published) >= {*small, *other}
    assert len(published) == 9


async def test_nothing_is_published_while_paused(world: World) -> None:
    """The pause holds from the next claim on; what was published comes back by itself."""
    call_id = await world.accept(campaign="nurses")
    free = await world.accept(campaign="drivers")
    assert set(await due(world)) == {call_id, free}
    await world.ledger.intake.pause(None, "nurses")
    [held] = await world.ledger.dialing.claim([call_id])
    assert held == NotClaimed(call_id, "paused")
    assert await due(world) == []
    await world.ledger.intake.resume(None, "nurses")
    assert await due(world) == [call_id]


async def test_pausing_everything_stops_everything(world: World) -> None:
    """And resuming everything lifts every pause."""
    call_id = await world.accept()
    await world.ledger.intake.pause(None, None)
    await world.ledger.intake.pause("acme", None)
    assert await world.ledger.intake.published_ahead() is None
    assert await due(world) == []
    assert (await world.ledger.dialing.permits()).stopped == "paused"
    await world.ledger.intake.resume(None, None)
    assert await world.ledger.intake.pauses() == []
    assert await due(world) == [call_id]


async def test_lost_hints_are_sent_again(world: World) -> None:
    """An empty queue proves that what was published a while ago lost its hint."""
    call_id = await world.accept()
    await due(world)
    assert await world.ledger.due_calls.republish_lost_hints(5_000) == 0
    world.ledger.clock.ahead += 5_001
    assert await world.ledger.due_calls.republish_lost_hints(5_000) == 1
    assert await due(world) == [call_id]


async def test_old_hints_that_are_there_are_not_sent_again(world: World) -> None:
    """Where the queue holds a hint for each published call, a slow dialing adds none to it."""
    for _ in range(3):
        await world.accept()
    published = await due(world)
    before = (await world.rows(_PUBLISHED_AT))[0][0]
    assert await world.ledger.due_calls.republish_old_hints(0) == 0
    world.ledger.clock.ahead += 600_001
    assert await world.ledger.due_calls.republish_old_hints(3) == 0
    assert await due(world) == []
    # They wait on with the relay's word that their hints are there.
    assert (await world.rows(_PUBLISHED_AT))[0][0] >= before + 600_000
    world.ledger.clock.ahead += 600_001
    assert await world.ledger.due_calls.republish_old_hints(2) == 3
    assert sorted(await due(world)) == sorted(published)


async def test_a_scheduled_call_comes_due(world: World) -> None:
    """It waits in the database, and costs no message before its time."""
    call_id = await world.accept(not_before=await world.now() + 3_600_000)
    assert (await world.call(call_id)).status == CallStatus.SCHEDULED
    await world.ledger.due_calls.promote()
    assert await due(world) == []
    world.ledger.clock.ahead += 3_700_000
    assert await world.ledger.due_calls.promote() == 1
    assert await due(world) == [call_id]


async def test_a_call_expires(world: World) -> None:
    """Unclaimed at its time it ends, told as not placed."""
    call_id = await world.accept(expires_at=await world.now() + 3_600_000)
    world.ledger.clock.ahead += 3_700_000
    await world.ledger.due_calls.promote()
    record = await world.call(call_id)
    assert (record.status, record.reason) == ("expired", "expired")
    [event] = await world.events(call_id)
    assert event["data"]["reason"] == "expired"
    assert await world.ledger.due_calls.promote() == 0


async def test_events_leave_in_order(world: World) -> None:
    """One event of a call at a time, the oldest; the next only after it was delivered."""
    call_id, claim = await world.placed()
    await world.hear(started(claim), analyzed(claim))
    told = []
    for _ in range(3):
        [delivery] = await world.ledger.activity.lease_deliveries(10, 30)
        assert await world.ledger.activity.lease_deliveries(10, 30) == []
        told.append(delivery.event_id)
        await world.ledger.activity.settle([Delivered(delivery)])
    assert await world.ledger.activity.lease_deliveries(10, 30) == []
    assert told == [event["id"] for event in await world.events(call_id)]


async def test_a_refused_event_waits_and_holds_up_its_call_only(world: World) -> None:
    """Another call's events go on meanwhile; the refused one comes again with its tries."""
    slow, _ = await world.placed()
    quick, claim = await world.placed()
    deliveries = await world.ledger.activity.lease_deliveries(10, 30)
    assert {one.call_id for one in deliveries} == {slow, quick}
    await world.ledger.activity.settle(
        [
            Delivered(one, error="503", retry_ms=60_000) if one.call_id == slow else Delivered(one)
            for one in deliveries
        ]
    )
    await world.hear(started(claim))
    [only] = await world.ledger.activity.lease_deliveries(10, 30)
    assert only.call_id == quick
    world.ledger.clock.ahead += 60_001
    again = {one.call_id: one for one in await world.ledger.activity.lease_deliveries(10, 30)}
    assert again[slow].tries == 1


async def test_a_lease_that_passed_on_settles_nothing(world: World) -> None:
    """But that the sink took the event stays true."""
    call_id, claim = await world.placed()
    [late] = await world.ledger.activity.lease_deliveries(10, 30)
    world.ledger.clock.ahead += 30_001
    [heir] = await world.ledger.activity.lease_deliveries(10, 30)
    assert heir.event_id == late.event_id
    await world.ledger.activity.settle([Delivered(late, error="too late", park=True)])
    assert await world.ledger.activity.undeliverable() == []
    await world.ledger.activity.settle([Delivered(heir)])
    await world.hear(started(claim))
    [next_one] = await world.ledger.activity.lease_deliveries(10, 30)
    assert next_one.call_id == call_id


async def test_a_parked_event_lets_the_next_pass(world: World) -> None:
    """It is shown, and redriven; order within the call is by sequence then."""
    _, claim = await world.placed()
    await world.hear(started(claim))
    [first] = await world.ledger.activity.lease_deliveries(10, 30)
    await world.ledger.activity.settle([Delivered(first, error="410 gone", park=True)])
    [parked] = await world.ledger.activity.undeliverable()
    assert (parked.event_id, parked.reason) == (first.event_id, "410 gone")
    [second] = await world.ledger.activity.lease_deliveries(10, 30)
    await world.ledger.activity.settle([Delivered(second)])
    assert await world.ledger.activity.redrive() == 1
    [again] = await world.ledger.activity.lease_deliveries(10, 30)
    assert again.event_id == first.event_id
    assert await world.ledger.activity.undeliverable() == []


async def test_two_relays_share_the_work(world: World) -> None:
    """No event is leased twice at the same time."""
    for _ in range(20):
        await world.placed()
    leases = await asyncio.gather(
        *(world.ledger.activity.lease_deliveries(10, 30) for _ in range(4))
    )
    ids = [one.event_id for lease in leases for one in lease]
    assert len(ids) == len(set(ids)) == 20


async def test_changed_rows_go_to_the_warehouse(world: World) -> None:
    """Every change, once; a row that changed since it was read is not marked as loaded."""
    _, claim = await world.placed()
    changes = await world.ledger.warehouse.changes(100)
    assert [len(part) for part in (changes.calls, changes.attempts, changes.activity)] == [1, 1, 1]
    await world.hear(analyzed(claim))
    await world.ledger.warehouse.loaded(changes)
    later = await world.ledger.warehouse.changes(100)
    [attempt] = later.attempts
    assert (attempt["status"], attempt["connected"], attempt["outcome"]) == (
        "completed",
        True,
        "answered",
    )
    assert attempt["agent_id"] == "agent_1"
    assert len(later.activity) == 2
    await world.ledger.warehouse.loaded(later)
    assert await world.ledger.warehouse.waiting() == 0
    await world.ledger.warehouse.forget_loaded()
    assert (await world.ledger.warehouse.changes(100)).count == 5

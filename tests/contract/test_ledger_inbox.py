"""Webhooks in any order, once."""

import asyncio
import itertools

import pytest
from sqlalchemy import text

from outdial.errors import Poison
from outdial.ports.inbox import Disposition
from tests.ledger_world import (
    World,
    analyzed,
    ended,
    incoming,
    retell_id,
    started,
    unanswered,
    webhook,
)


async def test_a_connected_call_told_in_order(world: World) -> None:
    """Started, ended, analyzed: two events, and the details in the database."""
    call_id, claim = await world.placed()
    await world.hear(started(claim))
    assert await world.told(call_id) == ["initiated", "started"]
    await world.hear(ended(claim))
    assert await world.told(call_id) == ["initiated", "started"]
    await world.hear(analyzed(claim))
    assert await world.told(call_id) == ["initiated", "started", "completed"]
    record = await world.call(call_id)
    assert record.status == "completed"
    [attempt] = record.attempts
    assert (attempt.outcome, attempt.duration_ms, attempt.cost_usd) == ("answered", 61_000, 0.125)
    assert (attempt.started_at, attempt.ended_at) == (1_700_000_001_000, 1_700_000_062_000)
    assert [entry.kind for entry in record.timeline] == [
        "accepted",
        "voice_call.initiated",
        "voice_call.started",
        "voice_call.completed",
    ]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_order_does_not_matter(world: World, order: tuple[int, ...]) -> None:
    """Each permutation, one by one, twice, tells the same and ends the same."""
    call_id, claim = await world.placed()
    events = [started(claim), ended(claim), analyzed(claim)]
    for index in [*order, *order]:
        await world.hear(events[index])
    assert await world.told(call_id) == ["initiated", "started", "completed"]
    assert (await world.call(call_id)).status == "completed"


async def test_a_batch_with_everything_twice(world: World) -> None:
    """Repetitions within one batch are repetitions too."""
    call_id, claim = await world.placed()
    events = [analyzed(claim), started(claim), ended(claim)]
    taken = await world.hear(*events, *events)
    assert [one.disposition for one in taken] == [Disposition.APPLIED] * 3 + [
        Disposition.REPEATED
    ] * 3
    assert await world.told(call_id) == ["initiated", "started", "completed"]


async def test_the_same_event_at_the_same_time(world: World) -> None:
    """Two processors with one event: one applies it."""
    call_id, claim = await world.placed()
    body = analyzed(claim)
    taken = await asyncio.gather(*(world.hear(body) for _ in range(6)))
    dispositions = [one.disposition for some in taken for one in some]
    assert dispositions.count(Disposition.APPLIED) == 1
    assert await world.told(call_id) == ["initiated", "started", "completed"]


async def test_a_webhook_before_the_201(world: World) -> None:
    """It adopts the attempt by its metadata, and tells initiated first."""
    call_id = await world.accept()
    claim = await world.claim(call_id)
    await world.hear(started(claim))
    assert await world.told(call_id) == ["initiated", "started"]
    record = await world.call(call_id)
    assert record.attempts[0].retell_call_id == retell_id(claim)
    assert record.status == "in_progress"


async def test_a_call_that_never_connected(world: World) -> None:
    """Failed, with its outcome; no started, no completed."""
    call_id, claim = await world.placed()
    await world.hear(unanswered(claim))
    assert await world.told(call_id) == ["initiated", "failed"]
    record = await world.call(call_id)
    assert (record.status, record.attempts[0].outcome) == ("failed", "no_answer")
    event = (await world.events(call_id))[-1]
    assert event["data"]["reason"] == "dial_no_answer"


async def test_over_the_limit_nothing_rang(world: World) -> None:
    """The attempt failed, the call goes back to the queue and is dialed again."""
    call_id, claim = await world.placed()
    await world.hear(unanswered(claim, "concurrency_limit_reached"))
    assert await world.told(call_id) == ["initiated", "failed"]
    assert (await world.call(call_id)).status == "queued"
    world.ledger.clock.ahead += 11_000
    second = await world.claim(call_id)
    assert second.number == 2
    await world.hear(unanswered(claim, "concurrency_limit_reached", event_timestamp=2))
    assert (await world.call(call_id)).status == "dialing"


async def test_an_end_frees_its_line(world: World) -> None:
    """`call_ended` changes nothing but the permit."""
    _, claim = await world.placed()
    open_lines = text("SELECT count(*) FROM attempts WHERE line_open")
    assert (await world.rows(open_lines))[0][0] == 1
    await world.hear(ended(claim))
    assert (await world.rows(open_lines))[0][0] == 0


async def test_a_foreign_call_changes_nothing(world: World) -> None:
    """Another deployment's calls, and calls without our metadata, are kept apart."""
    call_id, claim = await world.placed()
    foreign = dict(claim.body["metadata"], outdial_deployment="another")
    claim.body["metadata"] = foreign
    bodies = [
        webhook(claim, "call_analyzed", retell_call_id="call_theirs", call_status="ended"),
        webhook(claim, "call_started", retell_call_id="", call_status="ongoing"),
    ]
    taken = await world.hear(*bodies)
    assert {one.disposition for one in taken} == {Disposition.FOREIGN}
    assert await world.told(call_id) == ["initiated"]


async def test_a_second_call_heard_of_is_an_alarm(world: World) -> None:
    """A webhook of another Retell call with an attempt's metadata is a duplicate dial."""
    call_id, claim = await world.placed()
    [taken] = await world.hear(started(claim, retell_call_id="call_second"))
    assert taken.alarm == "duplicate_dial"
    assert await world.alarms() == [("duplicate_dial", "call_second")]
    assert await world.told(call_id) == ["initiated"]


async def test_the_greatest_analysis_wins(world: World) -> None:
    """Run again, it corrects the details in either order, and tells nothing twice."""
    for order in (1, -1):
        call_id, claim = await world.placed()
        first = analyzed(claim, event_timestamp=1)
        second = analyzed(claim, event_timestamp=2, call_analysis={"call_summary": "Corrected."})
        for body in [first, second][::order]:
            await world.hear(body)
        assert (await world.call(call_id)).attempts[0].call_summary == "Corrected."
        assert await world.told(call_id) == ["initiated", "started", "completed"]


async def test_unknown_events_are_kept(world: World) -> None:
    """They change nothing, but prove that Retell has the call."""
    call_id = await world.accept()
    claim = await world.claim(call_id)
    [taken] = await world.hear(webhook(claim, "transcript_updated"))
    assert taken.disposition is Disposition.APPLIED
    assert await world.told(call_id) == ["initiated"]


async def test_a_replay_changes_nothing(world: World) -> None:
    """Stored events, applied again: the same state, no second activity event."""
    call_id, claim = await world.placed()
    await world.hear(started(claim), ended(claim), analyzed(claim))
    before = await world.call(call_id)
    pages = [page async for page in world.ledger.inbox.stored(call_id=call_id)]
    ids = [event.id for page in pages for event in page]
    assert len(ids) == 3
    await world.ledger.inbox.replay(ids[::-1])
    after = await world.call(call_id)
    assert after.attempts == before.attempts
    assert after.timeline == before.timeline


async def test_what_no_database_stores_is_cleaned(world: World) -> None:
    """NUL and half a surrogate pair are text to Retell, and must not stop the inbox."""
    call_id, claim = await world.placed()
    body = analyzed(claim).replace(b"Booked.", b"a\\u0000b\\ud800c")
    await world.hear(body)
    assert (await world.call(call_id)).attempts[0].call_summary == "a\ufffdb\ufffdc"


async def test_what_is_no_event_is_poison(world: World) -> None:
    """A body that no transaction can apply is refused whole."""
    with pytest.raises(Poison):
        await world.ledger.inbox.take([incoming(b"[1]")])


async def test_an_event_is_seen_once_taken(world: World) -> None:
    """A parked payload that is gone is no loss when its event is in the inbox."""
    _, claim = await world.placed()
    one = incoming(analyzed(claim))
    assert not await world.ledger.inbox.seen(retell_id(claim), "call_analyzed", one.sha256)
    await world.ledger.inbox.take([one])
    assert await world.ledger.inbox.seen(retell_id(claim), "call_analyzed", one.sha256)

"""Submissions of unknown fate: looked up by anybody, given up by rule, corrected when heard of."""

import asyncio

import pytest
from sqlalchemy import text

from outdial.adapters.database import DialingRules, Ledger, Limits
from outdial.core.submission import Absent, Placed, Suspended, Throttled, Unanswered
from outdial.ports.dialing import Answer, Claim
from tests.ledger_world import RULES, World, analyzed, open_world, retell_id, unanswered

ABSENT = Absent("not found")
_LEASE = text("SELECT lease_until FROM attempts")
APART = RULES.look_ups.apart_ms


async def doubtful(world: World) -> str:
    """A call whose submission was never answered, past the last moment to submit it again."""
    call_id = await world.accept()
    await world.answer(await world.claim(call_id), Unanswered("reset"))
    world.ledger.clock.ahead += RULES.submit_ms
    return call_id


async def look(world: World) -> Claim:
    """A worker takes the one doubt over."""
    [claim] = await world.ledger.dialing.take_over(10)
    return claim


async def lost(world: World) -> tuple[str, Claim]:
    """A call that was given up, and its last claim."""
    call_id = await doubtful(world)
    await world.answer(await look(world), ABSENT)
    world.ledger.clock.ahead += APART
    claim = await look(world)
    await world.answer(claim, ABSENT)
    return call_id, claim


async def test_two_empty_look_ups_end_it(world: World) -> None:
    """A sixth of the window apart; told as never placed, and its line is free."""
    call_id = await doubtful(world)
    claim = await look(world)
    assert claim.submit_ms <= 0
    await world.answer(claim, ABSENT)
    assert (await world.call(call_id)).attempts[0].status == "unknown"
    world.ledger.clock.ahead += APART - 1_000
    assert await world.ledger.dialing.take_over(10) == []
    world.ledger.clock.ahead += 1_001
    await world.answer(await look(world), ABSENT)
    record = await world.call(call_id)
    assert (record.status, record.reason) == ("failed", "submission_lost")
    assert record.attempts[0].status == "lost"
    [event] = await world.events(call_id)
    assert (event["type"], event["data"]["reason"]) == ("voice_call.not_placed", "submission_lost")
    assert await world.ledger.dialing.take_over(10) == []
    status = await world.ledger.dialing.status()
    assert status.unknown == 0


async def test_a_failed_look_up_is_no_knowledge(world: World) -> None:
    """However often it fails; only empty ones count, and one that finds it ends the doubt."""
    call_id = await doubtful(world)
    for _ in range(3):
        await world.answer(await look(world), Unanswered("could not be looked up"))
        world.ledger.clock.ahead += APART
    await world.answer(await look(world), ABSENT)
    world.ledger.clock.ahead += APART
    await world.answer(await look(world), Unanswered("could not be looked up"))
    world.ledger.clock.ahead += APART
    assert (await world.call(call_id)).attempts[0].status == "unknown"
    claim = await look(world)
    await world.answer(claim, Placed(retell_id(claim)))
    assert (await world.call(call_id)).status == "in_progress"
    assert await world.told(call_id) == ["initiated"]


async def test_a_look_up_that_its_worker_did_not_survive(world: World) -> None:
    """The next one takes over when the lease is over, and what the dead one saw is kept."""
    call_id = await doubtful(world)
    await world.answer(await look(world), ABSENT)
    world.ledger.clock.ahead += APART
    dead = await look(world)
    assert await world.ledger.dialing.take_over(10) == []
    world.ledger.clock.ahead += RULES.lease_ms
    heir = await look(world)
    late = await world.answer(dead, ABSENT)
    assert not late.kept
    await world.answer(heir, ABSENT)
    assert (await world.call(call_id)).attempts[0].status == "lost"


async def test_an_answer_recorded_twice_counts_once(world: World) -> None:
    """A commit whose answer was lost is tried again: it is not a second look-up."""
    call_id = await doubtful(world)
    claim = await look(world)
    await world.answer(claim, ABSENT)
    await world.answer(claim, ABSENT)
    world.ledger.clock.ahead += APART
    await world.answer(claim, ABSENT)
    assert (await world.call(call_id)).attempts[0].status == "unknown"


async def test_a_worker_that_died_before_it_submitted(world: World) -> None:
    """Nobody came for the whole window: it is looked up twice and given up, never dialed."""
    call_id = await world.accept()
    await world.claim(call_id)
    world.ledger.clock.ahead += RULES.submit_ms + RULES.lease_ms
    await world.answer(await look(world), ABSENT)
    world.ledger.clock.ahead += APART
    await world.answer(await look(world), ABSENT)
    assert (await world.call(call_id)).reason == "submission_lost"


async def test_retells_later_word_corrects(world: World) -> None:
    """A call that comes to light after all is adopted: an alarm, the details, no second end."""
    call_id, claim = await lost(world)
    recorded = await world.answer(claim, Placed(retell_id(claim)))
    assert recorded.alarm == "found_after_lost"
    assert (await world.call(call_id)).attempts[0].retell_call_id == retell_id(claim)
    await world.hear(analyzed(claim))
    record = await world.call(call_id)
    assert (record.status, record.attempts[0].status) == ("completed", "completed")
    assert await world.told(call_id) == ["not_placed"]


async def test_a_webhook_corrects_as_well(world: World) -> None:
    """Found by its metadata, though no look-up had found it."""
    call_id, claim = await lost(world)
    await world.hear(unanswered(claim))
    record = await world.call(call_id)
    assert (record.status, record.attempts[0].outcome) == ("failed", "no_answer")
    assert await world.told(call_id) == ["not_placed"]
    assert [kind for kind, _ in await world.alarms()] == ["found_after_lost"]


async def test_looked_up_when_the_window_ends(world: World) -> None:
    """Pauses double, but none reaches over the last moment of submitting again."""
    call_id = await world.accept()
    claim = await world.claim(call_id)
    began = await world.now()
    for _ in range(60):
        await world.answer(claim, Unanswered("reset"), submitted=False)
        due = await world.rows(_LEASE)
        world.ledger.clock.ahead += max(0, due[0][0] - await world.now())
        claim = await look(world)
        if claim.submit_ms <= 0:
            break
    assert abs(await world.now() - began - RULES.submit_ms) < 60_000


async def test_a_doubt_is_shown(world: World) -> None:
    """What is awaited and since when, while it lasts; and how it came out, for good."""
    call_id = await doubtful(world)
    record = await world.call(call_id)
    assert [entry.kind for entry in record.timeline] == ["accepted", "submission_unknown"]
    assert record.attempts[0].unknown_since == record.timeline[1].at
    assert record.attempts[0].message == record.timeline[1].reason == "reset"
    assert record.attempts[0].next_look_up_at is not None
    await world.answer(await look(world), ABSENT)
    record = await world.call(call_id)
    assert [entry.kind for entry in record.timeline][-1] == "not_found"
    status = await world.ledger.dialing.status()
    assert (status.unknown, status.unknown_since) == (1, record.attempts[0].unknown_since)
    world.ledger.clock.ahead += APART
    claim = await look(world)
    await world.answer(claim, ABSENT)
    await world.answer(claim, Placed(retell_id(claim)))
    record = await world.call(call_id)
    assert [entry.kind for entry in record.timeline] == [
        "accepted",
        "submission_unknown",
        "not_found",
        "voice_call.not_placed",
        "alarm",
    ]
    assert record.timeline[-1].reason == "found_after_lost"
    assert record.attempts[0].next_look_up_at is None


async def test_look_ups_need_no_line_and_no_leave(database_url: str) -> None:
    """With every line taken, all paused, or the bill unpaid, doubts are settled all the same."""
    rules = DialingRules(Limits(rate=1000, lines=1), 60_000, 3_000_000, "+14155550100")
    async with open_world(database_url, rules) as world:
        dialing = world.ledger.dialing
        call_id = await world.accept()
        await world.answer(await world.claim(call_id), Unanswered("reset"))
        assert (await dialing.permits()).free == 0
        world.ledger.clock.ahead += 2_001
        await world.ledger.intake.pause(None, None)
        claim = await look(world)
        assert not await dialing.may_submit_again(claim)
        await world.answer(claim, Suspended(402, "no balance"))
        world.ledger.clock.ahead += 4_001
        claim = await look(world)
        await world.answer(claim, Placed(retell_id(claim)))
        assert (await world.call(call_id)).status == "in_progress"


async def test_one_call_id_for_two_attempts(world: World) -> None:
    """The first keeps it; of the second nothing is known: an alarm, and it is looked up."""
    first, claim = await world.placed()
    second = await world.accept()
    taken = await world.answer(await world.claim(second), Placed(retell_id(claim)))
    assert (taken.kept, taken.alarm) == (True, "shared_call_id")
    assert await world.told(first) == ["initiated"]
    assert await world.told(second) == []
    assert await world.alarms() == [("shared_call_id", retell_id(claim))]
    assert await world.ledger.dialing.second_dials(10) == []
    world.ledger.clock.ahead += 2_001
    doubt = await look(world)
    assert doubt.call_id == second
    await world.answer(doubt, Placed(retell_id(doubt)))
    assert (await world.call(second)).status == "in_progress"


async def test_one_call_id_for_two_attempts_at_once(world: World) -> None:
    """In one batch, or by two workers at the same moment: neither stage nor call is lost."""
    ids = [await world.accept() for _ in range(4)]
    claims = [await world.claim(one) for one in ids]
    placed = [Answer(c.call_id, c.attempt_id, c.lease_token, Placed("call_x")) for c in claims]
    taken = await asyncio.gather(
        world.ledger.dialing.record(placed[:2]),
        world.ledger.dialing.record(placed[2:3]),
        world.ledger.dialing.record(placed[3:]),
    )
    alarms = [one.alarm for some in taken for one in some]
    assert sorted(alarms, key=str) == [None, *["shared_call_id"] * 3]
    statuses = sorted([(await world.call(one)).status.value for one in ids])
    assert statuses == ["dialing", "dialing", "dialing", "in_progress"]


async def test_second_calls_wait_to_be_ended(world: World) -> None:
    """Until the platform has taken the order, whichever worker gives it."""
    _, claim = await world.placed()
    dialing = world.ledger.dialing
    await world.answer(claim, Placed("call_second"))
    [second] = await dialing.second_dials(10)
    assert (second.attempt_id, second.retell_call_id) == (claim.attempt_id, "call_second")
    await dialing.stopped(second)
    assert await dialing.second_dials(10) == []
    assert (await dialing.status()).alarms == {"duplicate_dial": 1}


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_worker_whose_clock_is_an_hour_off(database_url: str, hours: int) -> None:
    """It may wait too long or look too early, but nothing is settled by it that is not so."""
    async with open_world(database_url) as world:
        astray = Ledger.open(database_url, RULES)
        astray.clock.ahead = world.ledger.clock.ahead + hours * 3_600_000
        other = World(astray)
        try:
            call_id = await world.accept()
            claim = await world.claim(call_id)
            for early in await astray.dialing.take_over(10):
                assert early.look_up_first
                assert not await astray.dialing.may_submit_again(early)
                await other.answer(early, ABSENT)
            await world.answer(claim, Placed(retell_id(claim)))
            assert await world.told(call_id) == ["initiated"]
            theirs = await world.accept()
            [taken] = await astray.dialing.claim([theirs])
            if isinstance(taken, Claim):
                [again] = await world.ledger.dialing.claim([theirs])
                assert not isinstance(again, Claim)
                await other.answer(taken, Throttled("slow down"))
            assert (await world.call(theirs)).status == "queued"
        finally:
            await astray.close()

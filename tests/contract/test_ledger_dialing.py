"""Exactly one dial: claims, permits, answers, take-overs."""

import asyncio

import pytest

from outdial.adapters.database import DialingRules, Limits
from outdial.core.circuit import OUTAGE_RUN
from outdial.core.submission import Placed, Refused, Suspended, Throttled, Unanswered
from outdial.ports.dialing import Answer, Claim, NotClaimed
from tests.ledger_world import RULES, World, analyzed, open_world, retell_id, unanswered


async def measure(world: World, *, current: int, limit: int, reserved: int = 0) -> None:
    """The platform is asked now, and nothing is placed until its answer is noted."""
    world.ledger.clock.ahead += 1
    dialing = world.ledger.dialing
    asked_at = await dialing.now()
    await dialing.measured(current, limit, reserved, asked_at=asked_at)


async def test_a_claim_fixes_the_request(world: World) -> None:
    """The body carries numbers, variables, the caller's metadata and our own keys."""
    call_id = await world.accept(
        agent_id="agent_7",
        agent_version="3",
        dynamic_variables={"name": "Ada"},
        metadata={"job": "123"},
    )
    claim = await world.claim(call_id)
    metadata = claim.body.pop("metadata")
    assert claim.body == {
        "from_number": "+14155550100",
        "to_number": "+12125550101",
        "override_agent_id": "agent_7",
        "override_agent_version": 3,
        "retell_llm_dynamic_variables": {"name": "Ada"},
        "idempotency_key": claim.attempt_id,
    }
    assert metadata.pop("outdial_deployment")
    assert metadata == {
        "job": "123",
        "outdial_call_id": call_id,
        "outdial_attempt_id": claim.attempt_id,
    }


async def test_a_call_is_claimed_once(world: World) -> None:
    """However many hints there are, also in one batch and at the same time."""
    call_id = await world.accept()
    answers = await asyncio.gather(*(world.ledger.dialing.claim([call_id] * 2) for _ in range(5)))
    claims = [one for some in answers for one in some if isinstance(one, Claim)]
    assert len(claims) == 1
    assert (await world.call(call_id)).status == "dialing"


async def test_a_placed_call_is_told_once(world: World) -> None:
    """A 201 that is recorded again tells nothing again."""
    call_id, claim = await world.placed()
    again = await world.answer(claim, Placed(retell_id(claim)))
    assert again.alarm is None
    assert await world.told(call_id) == ["initiated"]
    assert (await world.call(call_id)).status == "in_progress"


async def test_a_refusal_ends_the_call(world: World) -> None:
    """A 422 proves that nothing rang; asking again is useless."""
    call_id = await world.accept()
    await world.answer(await world.claim(call_id), Refused(422, "agent not found"))
    record = await world.call(call_id)
    assert (record.status, record.reason) == ("failed", "refused")
    [event] = await world.events(call_id)
    assert event["type"] == "voice_call.not_placed"
    assert event["data"]["reason"] == "refused"
    assert event["data"]["message"] == "agent not found"


async def test_a_throttled_call_waits_and_is_dialed_anew(world: World) -> None:
    """A 429 uses nothing up: the next claim is another attempt with another key."""
    call_id = await world.accept()
    first = await world.claim(call_id)
    await world.answer(first, Throttled("rate limited"))
    assert (await world.call(call_id)).status == "queued"
    [early] = await world.ledger.dialing.claim([call_id])
    assert isinstance(early, NotClaimed)
    world.ledger.clock.ahead += 11_000
    assert [due.call_id for due in await world.ledger.due_calls.lease_due(10)] == [call_id]
    second = await world.claim(call_id)
    assert second.number == 2
    assert second.body["idempotency_key"] != first.body["idempotency_key"]
    assert await world.told(call_id) == []


async def test_a_call_ended_by_a_limit_waits_and_is_dialed_anew(world: World) -> None:
    """Accepted and then ended: nothing rang, so that attempt has failed and the call goes on."""
    call_id, first = await world.placed()
    await world.hear(unanswered(first, "concurrency_limit_reached"))
    assert (await world.call(call_id)).status == "queued"
    world.ledger.clock.ahead += 11_000
    assert [due.call_id for due in await world.ledger.due_calls.lease_due(10)] == [call_id]
    second = await world.claim(call_id)
    await world.answer(second, Placed(retell_id(second)))
    await world.hear(analyzed(second))
    assert (await world.call(call_id)).status == "completed"
    told = ["initiated", "failed", "initiated", "started", "completed"]
    assert await world.told(call_id) == told


async def test_a_suspended_workspace_dials_nothing(world: World) -> None:
    """A 401 opens the circuit: calls wait, and go on when it is closed."""
    first, second = await world.accept(), await world.accept()
    await world.answer(await world.claim(first), Suspended(401, "invalid key"))
    permits = await world.ledger.dialing.permits()
    assert permits.free == 0
    assert permits.stopped == "circuit open: 401 invalid key"
    [held] = await world.ledger.dialing.claim([second])
    assert isinstance(held, NotClaimed)
    assert await world.ledger.due_calls.lease_due(10) == []
    world.ledger.clock.ahead += 5_000
    assert await world.ledger.dialing.reached() == "half_open"
    probe = await world.claim(second)
    assert (await world.ledger.dialing.permits()).free == 0
    await world.answer(probe, Placed(retell_id(probe)))
    assert (await world.ledger.dialing.permits()).free > 1


async def test_a_dead_worker_is_succeeded_when_its_lease_is_over(world: World) -> None:
    """Before that nobody else gets the attempt; then with another token, to be looked up first."""
    call_id = await world.accept()
    dead = await world.claim(call_id)
    [early] = await world.ledger.dialing.claim([call_id])
    assert isinstance(early, NotClaimed)
    assert await world.ledger.due_calls.lease_due(10) == []
    world.ledger.clock.ahead += 60_001
    assert [due.call_id for due in await world.ledger.due_calls.lease_due(10)] == [call_id]
    heir = await world.claim(call_id)
    assert heir.look_up_first
    assert (heir.attempt_id, heir.body) == (dead.attempt_id, dead.body)
    assert heir.lease_token != dead.lease_token
    late = await world.answer(dead, Throttled("too late to matter"))
    assert not late.kept
    assert (await world.call(call_id)).status == "dialing"


async def test_a_late_201_of_a_dead_worker_still_counts(world: World) -> None:
    """That Retell has the call is true whoever brings the news."""
    call_id = await world.accept()
    dead = await world.claim(call_id)
    world.ledger.clock.ahead += 60_001
    heir = await world.claim(call_id)
    await world.answer(dead, Placed("call_x"))
    await world.answer(heir, Unanswered("time-out"))
    assert (await world.call(call_id)).status == "in_progress"
    assert await world.told(call_id) == ["initiated"]


@pytest.mark.parametrize(
    "refusal", [Refused(422, "no such agent"), Throttled("slow down"), Suspended(402, "pay")]
)
async def test_after_a_doubt_a_4xx_proves_nothing(
    world: World, refusal: Refused | Throttled | Suspended
) -> None:
    """The first submission may have rung: the attempt stays unknown, and is looked up."""
    call_id = await world.accept()
    await world.answer(await world.claim(call_id), Unanswered("time-out"))
    world.ledger.clock.ahead += 2_001
    heir = await world.claim(call_id)
    assert heir.look_up_first
    assert await world.ledger.dialing.may_submit_again(heir)
    await world.answer(heir, refusal)
    record = await world.call(call_id)
    assert (record.status, record.attempts[0].status) == ("dialing", "unknown")
    assert await world.told(call_id) == []


async def test_no_submission_after_the_window(world: World) -> None:
    """Past five sixths of the idempotency window an attempt is only looked up."""
    call_id = await world.accept()
    await world.answer(await world.claim(call_id), Unanswered("time-out"))
    world.ledger.clock.ahead += RULES.submit_ms
    heir = await world.claim(call_id)
    assert heir.submit_ms <= 0
    assert not await world.ledger.dialing.may_submit_again(heir)


async def test_a_paused_campaign_is_not_dialed_again_on_doubt(world: World) -> None:
    """A second submission is a dial like any other."""
    call_id = await world.accept(campaign="nurses")
    await world.answer(await world.claim(call_id), Unanswered("time-out"))
    await world.ledger.intake.pause(None, "nurses")
    world.ledger.clock.ahead += 2_001
    heir = await world.claim(call_id)
    assert not await world.ledger.dialing.may_submit_again(heir)
    await world.ledger.intake.resume(None, "nurses")
    assert await world.ledger.dialing.may_submit_again(heir)


async def test_a_second_call_of_an_attempt_is_an_alarm(world: World) -> None:
    """It changes nothing, tells nothing, and is raised once."""
    call_id, claim = await world.placed()
    for _ in range(2):
        recorded = await world.answer(claim, Placed("call_second"))
        assert recorded.alarm == "duplicate_dial"
    assert await world.alarms() == [("duplicate_dial", "call_second")]
    assert await world.told(call_id) == ["initiated"]


async def test_an_unpaid_workspace_lets_one_call_through(world: World) -> None:
    """A key that works proves no payment: one call finds out, the others wait unharmed."""
    dialing = world.ledger.dialing
    ids = [await world.accept() for _ in range(4)]
    await world.answer(await world.claim(ids[0]), Suspended(402, "no balance"))
    assert await dialing.reached() == "open"
    world.ledger.clock.ahead += 11_000
    assert await dialing.reached() == "half_open"
    assert (await dialing.permits()).free == 1
    probe, *held = await dialing.claim(ids)
    assert isinstance(probe, Claim)
    assert {type(one) for one in held} == {NotClaimed}
    await world.answer(probe, Suspended(402, "no balance"))
    assert await dialing.reached() == "open"
    assert [len((await world.call(one)).attempts) for one in ids] == [2, 0, 0, 0]
    world.ledger.clock.ahead += 20_000
    assert await dialing.reached() == "half_open"
    [paid] = await dialing.claim([ids[1]])
    assert isinstance(paid, Claim)
    await world.answer(paid, Placed(retell_id(paid)))
    assert (await dialing.permits()).free > 1
    assert all(isinstance(one, Claim) for one in await dialing.claim(ids[2:]))


async def test_a_probe_whose_worker_died_holds_up_nobody(world: World) -> None:
    """When its lease is over, another call is the probe; its late answer says nothing."""
    dialing = world.ledger.dialing
    first, second = await world.accept(), await world.accept()
    await world.answer(await world.claim(first), Suspended(402, "no balance"))
    world.ledger.clock.ahead += 11_000
    await dialing.reached()
    dead = await world.claim(first)
    [held] = await dialing.claim([second])
    assert isinstance(held, NotClaimed)
    world.ledger.clock.ahead += 60_000
    heir = await world.claim(second)
    await world.answer(dead, Unanswered("reset"))
    await world.answer(heir, Placed(retell_id(heir)))
    assert (await dialing.status()).circuit == "closed"


async def test_a_run_without_answers_stops_dialing(world: World) -> None:
    """Those submissions are unknown, and not looked up until the platform is there again."""
    dialing = world.ledger.dialing
    ids = [await world.accept() for _ in range(OUTAGE_RUN)]
    for call_id in ids:
        await world.answer(await world.claim(call_id), Unanswered("HTTP 503: away"))
    status = await dialing.status()
    assert (status.circuit, status.trouble, status.unknown) == ("open", "outage", OUTAGE_RUN)
    world.ledger.clock.ahead += 5_000
    assert await dialing.take_over(100) == []
    assert await dialing.reached() == "half_open"
    doubtful = await dialing.take_over(100)
    assert {claim.call_id for claim in doubtful} == set(ids)
    allowed = [await dialing.may_submit_again(claim) for claim in doubtful]
    assert allowed == [True] + [False] * (OUTAGE_RUN - 1)
    await world.answer(doubtful[0], Placed(retell_id(doubtful[0])))
    assert (await dialing.status()).circuit == "closed"
    assert await dialing.may_submit_again(doubtful[1])


async def test_a_take_over_takes_its_share_of_the_rate(database_url: str) -> None:
    """Looked up and not found, it may be dialed at once, however many others wait."""
    rules = DialingRules(Limits(rate=1, lines=100), 60_000, 3_000_000, "+14155550100")
    async with open_world(database_url, rules) as world:
        dialing = world.ledger.dialing
        doubtful, other = await world.accept(), await world.accept()
        await world.answer(await world.claim(doubtful), Unanswered("time-out"))
        world.ledger.clock.ahead += 60_000
        heir = await world.claim(doubtful)
        [late] = await dialing.claim([other])
        assert late == NotClaimed(other, "dial rate", retry_ms=1000)
        assert await dialing.may_submit_again(heir)


async def test_a_take_over_may_borrow_from_the_next_second(database_url: str) -> None:
    """Calls that take each token as it comes keep no doubtful one waiting; the rate holds."""
    rules = DialingRules(Limits(rate=1, lines=100), 60_000, 3_000_000, "+14155550100")
    async with open_world(database_url, rules) as world:
        dialing = world.ledger.dialing
        doubtful, other, third = [await world.accept() for _ in range(3)]
        await world.answer(await world.claim(doubtful), Unanswered("time-out"))
        world.ledger.clock.ahead += 60_000
        await world.claim(other)
        world.ledger.clock.ahead += 100
        await world.claim(doubtful)
        world.ledger.clock.ahead += 1_000
        [late] = await dialing.claim([third])
        assert isinstance(late, NotClaimed)
        world.ledger.clock.ahead += 1_000
        await world.claim(third)


async def test_lines_limit_claims(database_url: str) -> None:
    """The open attempts are the permits: no more calls at once than lines."""
    rules = DialingRules(Limits(rate=1000, lines=2), 60_000, 3_000_000, "+14155550100")
    async with open_world(database_url, rules) as world:
        ids = [await world.accept() for _ in range(3)]
        answers = await world.ledger.dialing.claim(ids)
        assert [type(answer) for answer in answers] == [Claim, Claim, NotClaimed]
        assert (await world.ledger.dialing.permits()).free == 0
        first = answers[0]
        assert isinstance(first, Claim)
        await world.answer(first, Refused(400, "no"))
        assert (await world.ledger.dialing.permits()).free == 1


async def test_the_rate_limits_claims(database_url: str) -> None:
    """The bucket holds one second of dialing, and fills with time."""
    rules = DialingRules(Limits(rate=2, lines=100), 60_000, 3_000_000, "+14155550100")
    async with open_world(database_url, rules) as world:
        ids = [await world.accept() for _ in range(6)]
        dialing = world.ledger.dialing
        # Two at once, and at most one more for the time that passed meanwhile.
        first = [one for one in await dialing.claim(ids) if isinstance(one, Claim)]
        assert len(first) in {2, 3}
        world.ledger.clock.ahead += 500
        assert any(isinstance(one, Claim) for one in await dialing.claim(ids))


async def test_the_platform_corrects_our_count(database_url: str) -> None:
    """Others' lines count at once; a surplus of ours only when two measurements agree."""
    rules = DialingRules(Limits(rate=1000, lines=10), 60_000, 3_000_000, "+14155550100")
    async with open_world(database_url, rules) as world:
        dialing = world.ledger.dialing
        await measure(world, current=4, limit=20, reserved=0)
        assert (await dialing.permits()).free == 6
        await measure(world, current=0, limit=8, reserved=2)
        assert (await dialing.permits()).free == 6
        for _ in range(6):
            await world.placed()
        assert (await dialing.permits()).free == 0
        await measure(world, current=3, limit=8, reserved=2)
        assert (await dialing.permits()).free == 0
        await measure(world, current=2, limit=8, reserved=2)
        assert (await dialing.permits()).free == 3


async def test_a_submission_under_way_is_a_line_in_use(database_url: str) -> None:
    """The platform may not count it yet: however often it says so, no other gets its permit."""
    rules = DialingRules(Limits(rate=1000, lines=5), 60_000, 3_000_000, "+14155550100")
    async with open_world(database_url, rules) as world:
        dialing = world.ledger.dialing
        for _ in range(5):
            await world.claim(await world.accept())
        for _ in range(3):
            await measure(world, current=0, limit=5, reserved=0)
            assert (await dialing.permits()).free == 0


async def test_a_call_placed_since_the_platform_was_asked_is_a_line_in_use(
    database_url: str,
) -> None:
    """The platform could not count it, however often it was asked too early."""
    rules = DialingRules(Limits(rate=1000, lines=3), 60_000, 3_000_000, "+14155550100")
    async with open_world(database_url, rules) as world:
        dialing = world.ledger.dialing
        asked_at = await dialing.now()
        for _ in range(3):
            await world.placed()
        for _ in range(2):
            await dialing.measured(current=0, limit=20, reserved_inbound=0, asked_at=asked_at)
        assert (await dialing.permits()).free == 0
        world.ledger.clock.ahead += 1_000
        for _ in range(2):
            await measure(world, current=0, limit=20)
        assert (await dialing.permits()).free == 3


async def test_no_caller_number_rejects_the_call(database_url: str) -> None:
    """What no configuration can dial is told, not kept waiting."""
    rules = DialingRules(Limits(rate=1000, lines=10), 60_000, 3_000_000)
    async with open_world(database_url, rules) as world:
        call_id = await world.accept()
        [answer] = await world.ledger.dialing.claim([call_id])
        assert answer == NotClaimed(call_id, "rejected")
        [event] = await world.events(call_id)
        assert event["data"]["reason"] == "rejected"
        assert "OUTDIAL_DEFAULT_FROM_NUMBER" in event["data"]["message"]


async def test_many_workers_share_one_bucket(world: World) -> None:
    """Claims at the same time, of different calls, all succeed within the permits."""
    ids = [await world.accept() for _ in range(40)]
    chunks = [ids[start : start + 5] for start in range(0, 40, 5)]
    answers = await asyncio.gather(*(world.ledger.dialing.claim(chunk) for chunk in chunks))
    claims = [one for some in answers for one in some if isinstance(one, Claim)]
    assert len({claim.attempt_id for claim in claims}) == 40
    placed = [Answer(c.call_id, c.attempt_id, c.lease_token, Placed(retell_id(c))) for c in claims]
    recorded = await asyncio.gather(
        *(world.ledger.dialing.record(placed[start : start + 8]) for start in range(0, 40, 8))
    )
    assert all(one.kept for some in recorded for one in some)

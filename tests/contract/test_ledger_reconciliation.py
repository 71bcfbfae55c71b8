"""What is silent, what asking about it came to, and the report, on both databases."""

import asyncio
from typing import Any

import orjson
from sqlalchemy import text

from outdial.core.reconciling import Drift
from outdial.ports.dialing import Claim
from outdial.ports.platform import ListedCall
from outdial.ports.reconciliation import Learned, Silent
from tests.ledger_world import World, analyzed, retell_id, started

#: As `Ledger.open` has it by default.
AFTER = 900_000
AGAIN = 1_000_000
_INBOX = text("SELECT source, disposition FROM provider_events")
_DRIFT = text("SELECT id FROM drift")


async def silent(world: World, count: int = 1) -> list[tuple[str, Claim]]:
    """So many calls at Retell of which nothing is heard for long."""
    placed = [await world.placed() for _ in range(count)]
    world.ledger.clock.ahead += AFTER
    return placed


async def taken(world: World, limit: int = 10) -> list[Silent]:
    """Those to ask about now."""
    return await world.ledger.reconciliation.silent(limit)


async def test_longest_silent_first(world: World) -> None:
    """Up to the limit, and each one once until it is let go."""
    first, _ = await world.placed()
    world.ledger.clock.ahead += 5
    second, _ = await world.placed()
    assert await taken(world) == []
    world.ledger.clock.ahead += AFTER
    assert [one.call_id for one in await taken(world, 1)] == [first]
    assert [one.call_id for one in await taken(world)] == [second]
    assert await taken(world) == []
    # Whoever took them may have died.
    world.ledger.clock.ahead += 60_000
    assert len(await taken(world)) == 2


async def test_takers_at_once_share_what_is_silent(world: World) -> None:
    """None of it is taken twice."""
    calls = await silent(world, 9)
    parts = await asyncio.gather(*(taken(world, 3) for _ in range(5)))
    ids = [one.call_id for part in parts for one in part]
    assert sorted(ids) == sorted({call_id for call_id, _ in calls} & set(ids))
    assert len(ids) == len(set(ids))
    rest = await taken(world, 9)
    assert len(ids) + len(rest) == 9


async def test_what_is_known_of_a_silent_attempt(world: World) -> None:
    """Its ids, and what was heard of it so far."""
    call_id, claim = await world.placed()
    await world.hear(started(claim))
    world.ledger.clock.ahead += AFTER
    [one] = await taken(world)
    assert (one.call_id, one.attempt_id) == (call_id, claim.attempt_id)
    assert one.retell_call_id == retell_id(claim)
    assert (one.known.status, one.known.told_started, one.known.line_open) == (
        "started",
        True,
        True,
    )
    assert one.known.silent_ms >= AFTER
    assert one.not_found == 0


async def test_news_end_the_silence(world: World) -> None:
    """Webhooks do, and an end does for good."""
    [(_, claim)] = await silent(world)
    await world.hear(started(claim))
    assert await taken(world) == []
    world.ledger.clock.ahead += AFTER
    await world.hear(analyzed(claim))
    assert await taken(world) == []


async def test_asked_on_demand(world: World) -> None:
    """Also those whose time has not come, but each once in a run."""
    await silent(world, 2)
    reconciliation = world.ledger.reconciliation
    for one in await taken(world):
        await reconciliation.learned(Learned(one, AGAIN, not_found=1))
    assert await taken(world) == []
    world.ledger.clock.ahead += 1
    began = await reconciliation.now()
    found = await reconciliation.silent(10, unasked_since=began)
    assert [one.not_found for one in found] == [1, 1]
    assert await reconciliation.silent(10, unasked_since=began) == []


async def test_what_was_learned_is_one_commit(world: World) -> None:
    """Events as of a webhook, marked as asked, the finding, and the next time; twice is once."""
    [(call_id, claim)] = await silent(world)
    [one] = await taken(world)
    learned = Learned(one, AGAIN, (analyzed(claim),), Drift.ANALYSIS_MISSED)
    for _ in range(2):
        assert await world.ledger.reconciliation.learned(learned) == []
    assert await world.told(call_id) == ["initiated", "started", "completed"]
    [row] = await world.rows(_INBOX)
    assert (row.source, row.disposition) == ("asked", "applied")
    report = await world.ledger.reconciliation.report()
    [count] = report.counts
    assert (count.kind, count.found, count.mended) == ("analysis_missed", 1, 1)


async def test_what_a_webhook_was_faster_with_is_no_drift(world: World) -> None:
    """The same bytes came while Retell was asked."""
    [(_, claim)] = await silent(world)
    [one] = await taken(world)
    await world.hear(analyzed(claim))
    learned = Learned(one, AGAIN, (analyzed(claim),), Drift.ANALYSIS_MISSED)
    await world.ledger.reconciliation.learned(learned)
    assert (await world.ledger.reconciliation.report()).counts == ()


async def test_heard_of_while_it_was_held_to_be_gone(world: World) -> None:
    """A conclusion from an answer older than the news is none."""
    [(call_id, claim)] = await silent(world)
    [one] = await taken(world)
    await world.hear(started(claim))
    gone = Learned(one, AGAIN, drift=Drift.NOT_FOUND, vanished=True)
    await world.ledger.reconciliation.learned(gone)
    assert (await world.call(call_id)).status == "in_progress"
    assert (await world.ledger.reconciliation.report()).counts == ()


async def test_a_connected_call_that_is_gone(world: World) -> None:
    """Its one end is `completed`, however little is known; concluding it again tells nothing."""
    call_id, claim = await world.placed()
    await world.hear(started(claim))
    world.ledger.clock.ahead += AFTER
    [one] = await taken(world)
    gone = Learned(one, AGAIN, drift=Drift.NOT_FOUND, vanished=True)
    for _ in range(2):
        await world.ledger.reconciliation.learned(gone)
    assert await world.told(call_id) == ["initiated", "started", "completed"]
    record = await world.call(call_id)
    assert (record.status, record.reason, record.attempts[0].status) == (
        "completed",
        "not_found",
        "lost",
    )


async def test_witnesses_are_earlier_ends(world: World) -> None:
    """The nearest first; none that is under way, later, or concluded without Retell's word."""
    ended = [(await world.placed())[1] for _ in range(3)]
    for claim in ended:
        await world.hear(analyzed(claim))
    await world.placed()
    await world.placed()
    _, later = await world.placed()
    await world.hear(analyzed(later))
    world.ledger.clock.ahead += AFTER
    reconciliation = world.ledger.reconciliation
    gone, last = await taken(world)
    await reconciliation.learned(Learned(gone, AGAIN, vanished=True))
    found = await reconciliation.witnesses(last, 2)
    assert found == [retell_id(ended[2]), retell_id(ended[1])]
    assert await reconciliation.witnesses(gone, 9) == [retell_id(one) for one in ended[::-1]]


async def test_a_search_is_one_reconcilers(world: World) -> None:
    """And comes again when its time is over."""
    reconciliation = world.ledger.reconciliation
    claims = await asyncio.gather(*(reconciliation.claim_search(600_000) for _ in range(3)))
    assert sorted(claims) == [False, False, True]
    assert not await reconciliation.claim_search(600_000)
    world.ledger.clock.ahead += 600_000
    assert await reconciliation.claim_search(600_000)


async def test_only_unknown_calls_are_unknown(world: World) -> None:
    """Not those of attempts, nor those just being submitted, nor those found before."""
    _, known = await world.placed()
    call_id = await world.accept()
    held = await world.claim(call_id)
    reconciliation = world.ledger.reconciliation
    listed = [
        ListedCall(retell_id(known), known.call_id, known.attempt_id),
        ListedCall(retell_id(held), held.call_id, held.attempt_id),
        ListedCall("call_stray", None, None),
    ]
    assert await reconciliation.unknown(listed) == listed[2:]
    stray: dict[str, Any] = {"call_id": "call_stray", "metadata": {}}
    body = orjson.dumps({"event": "call_found", "call": stray})
    assert await reconciliation.adopt(listed[2], [body]) == "unknown_call"
    assert await reconciliation.unknown(listed) == []
    world.ledger.clock.ahead += 60_000
    assert await reconciliation.unknown(listed) == listed[1:2]
    assert await reconciliation.deployment() == known.body["metadata"]["outdial_deployment"]


async def test_findings_are_forgotten_after_a_month(world: World) -> None:
    """The report is about the last day; the search clears up."""
    [(_, claim)] = await silent(world)
    [one] = await taken(world)
    reconciliation = world.ledger.reconciliation
    await reconciliation.learned(Learned(one, AGAIN, (started(claim),), Drift.START_MISSED))
    world.ledger.clock.ahead += 86_400_000 + AFTER
    report = await reconciliation.report()
    assert (report.counts, report.findings, report.silent) == ((), (), 1)
    assert report.oldest_silent_since is not None
    world.ledger.clock.ahead += 30 * 86_400_000
    assert await reconciliation.claim_search(0)
    assert await world.rows(_DRIFT) == []


async def test_the_report_says_what_hinders(world: World) -> None:
    """And when it was asked last."""
    reconciliation = world.ledger.reconciliation
    report = await reconciliation.report()
    assert (report.asked_at, report.searched_at, report.trouble) == (None, None, None)
    await reconciliation.note("Retell unavailable: away")
    report = await reconciliation.report()
    assert (report.asked_at, report.trouble) == (report.asked_at, "Retell unavailable: away")
    assert report.asked_at is not None
    await reconciliation.note(None)
    assert (await reconciliation.report()).trouble is None

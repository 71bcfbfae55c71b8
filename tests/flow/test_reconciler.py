"""The reconciler on a real ledger, with Retell in memory: what webhooks did not tell is asked."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from outdial.adapters.memory.platform import MemoryPlatform
from outdial.errors import Unavailable
from outdial.ports.dialing import Claim
from outdial.ports.reconciliation import DriftReport
from outdial.reconciler import Reconciler, Rules
from tests.ledger_world import World, analyzed, ended, open_world, retell_id, started

#: As the ledger of these tests is opened with.
AFTER = 900
ANALYSIS_AFTER = 3600

CONNECTED: dict[str, Any] = {
    "call_status": "ended",
    "start_timestamp": 1_700_000_001_000,
    "end_timestamp": 1_700_000_062_000,
    "duration_ms": 61_000,
    "disconnection_reason": "user_hangup",
}
ANALYSIS: dict[str, Any] = {"call_analysis": {"call_summary": "Booked.", "call_successful": True}}
UNANSWERED: dict[str, Any] = {
    "call_status": "not_connected",
    "duration_ms": 0,
    "disconnection_reason": "dial_no_answer",
}


@dataclass
class Shop:
    """A ledger, Retell, and a reconciler between them, whose waits take no time."""

    world: World
    platform: MemoryPlatform = field(default_factory=MemoryPlatform)
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Fresh."""
        self.reconciler = self.another()

    def another(self) -> Reconciler:
        """A reconciler on the same ledger."""

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        return Reconciler(
            self.world.ledger.reconciliation,
            self.platform,
            Rules(AFTER, ANALYSIS_AFTER, 5.0),
            sleep=sleep,
            draw=lambda: 0.5,
        )

    async def placed(self, **fields: Any) -> tuple[str, Claim]:
        """A call that Retell has taken."""
        call_id, claim = await self.world.placed(**fields)
        self.at_retell(claim)
        return call_id, claim

    def at_retell(self, claim: Claim, retell_call_id: str | None = None, **call: Any) -> str:
        """What Retell tells of the call of this claim, from now on."""
        found = retell_call_id or retell_id(claim)
        before = self.platform.calls.get(found) or {
            "call_id": found,
            "agent_id": "agent_1",
            "call_status": "registered",
            "metadata": claim.body["metadata"],
        }
        self.platform.calls[found] = before | call
        return found

    async def later(self, seconds: float = AFTER) -> DriftReport:
        """So much later, one run."""
        self.world.ledger.clock.ahead += int(seconds * 1000)
        return await self.reconciler.once()


@pytest_asyncio.fixture
async def shop(ledger_url: str) -> AsyncIterator[Shop]:
    """On both databases."""
    async with open_world(ledger_url) as world:
        yield Shop(world)


def kinds(report: DriftReport) -> dict[str, int]:
    """How many findings of each kind."""
    return {count.kind.value: count.found for count in report.counts}


async def test_an_analysis_that_never_came_is_asked_for(shop: Shop) -> None:
    """All three webhooks of a connected call were lost: it is told and ended as they would have."""
    call_id, claim = await shop.placed()
    shop.at_retell(claim, **CONNECTED, **ANALYSIS)
    report = await shop.later()
    assert await shop.world.told(call_id) == ["initiated", "started", "completed"]
    record = await shop.world.call(call_id)
    assert (record.status, record.attempts[0].call_summary) == ("completed", "Booked.")
    assert kinds(report) == {"analysis_missed": 1}
    assert (report.silent, report.provisional, report.unmended) == (0, 0, 0)
    [finding] = report.findings
    assert (finding.call_id, finding.retell_call_id) == (call_id, retell_id(claim))
    assert finding.mended_at == finding.found_at


async def test_a_dial_that_never_connected_is_asked_for(shop: Shop) -> None:
    """It ends as failed, once."""
    call_id, claim = await shop.placed()
    shop.at_retell(claim, **UNANSWERED, call_analysis={"call_successful": False})
    await shop.later()
    assert await shop.world.told(call_id) == ["initiated", "failed"]
    assert (await shop.world.call(call_id)).attempts[0].outcome == "no_answer"


async def test_what_was_learned_commutes_with_the_webhooks(shop: Shop) -> None:
    """Webhooks that come after all tell nothing again, and their details win."""
    call_id, claim = await shop.placed()
    shop.at_retell(claim, **CONNECTED, **ANALYSIS)
    await shop.later()
    better = {"call_analysis": {"call_summary": "Booked for Monday."}, "event_timestamp": 0}
    await shop.world.hear(analyzed(claim, **better), ended(claim), started(claim))
    assert await shop.world.told(call_id) == ["initiated", "started", "completed"]
    assert (await shop.world.call(call_id)).attempts[0].call_summary == "Booked for Monday."
    # And the other way round nothing is asked any more.
    assert kinds(await shop.later()) == {"analysis_missed": 1}


async def test_nothing_is_asked_about_calls_that_are_heard_of(shop: Shop) -> None:
    """News within the silence allowed, or an end, cost no question."""
    _, fresh = await shop.placed()
    _, over = await shop.placed()
    await shop.world.hear(started(over), analyzed(over))
    shop.platform.calls.clear()
    report = await shop.later(AFTER / 2)
    assert (kinds(report), report.silent, report.not_found) == ({}, 0, 0)
    await shop.world.hear(started(fresh))
    report = await shop.later(AFTER * 2 / 3)
    assert (report.silent, report.not_found) == (0, 0)


async def test_a_call_that_goes_on_is_left_alone(shop: Shop) -> None:
    """A missed start is told; a call that goes on is asked about less and less often."""
    call_id, claim = await shop.placed()
    shop.at_retell(claim, call_status="ongoing", start_timestamp=1_700_000_001_000)
    assert kinds(await shop.later()) == {"start_missed": 1}
    assert await shop.world.told(call_id) == ["initiated", "started"]
    for _ in range(3):
        report = await shop.later()
        assert kinds(report) == {"start_missed": 1}
        assert report.silent == 1
    ledger = shop.world.ledger
    assert await ledger.reconciliation.silent(10) == []
    ledger.clock.ahead += 4 * AFTER * 1000
    assert len(await ledger.reconciliation.silent(10)) == 1
    # It is held by who took it.
    assert await ledger.reconciliation.silent(10) == []


async def test_an_analysis_that_never_comes_at_all(shop: Shop) -> None:
    """After its time the call ends with what is known; an analysis after all corrects it."""
    call_id, claim = await shop.placed()
    shop.at_retell(claim, **CONNECTED)
    assert kinds(await shop.later()) == {"end_missed": 1}
    assert await shop.world.told(call_id) == ["initiated", "started"]
    await shop.later(ANALYSIS_AFTER / 2)
    assert await shop.world.told(call_id) == ["initiated", "started"]
    report = await shop.later(ANALYSIS_AFTER / 2)
    assert kinds(report) == {"end_missed": 1, "never_analysed": 1}
    assert report.provisional == 1
    assert await shop.world.told(call_id) == ["initiated", "started", "completed"]
    [attempt] = (await shop.world.call(call_id)).attempts
    assert (attempt.status, attempt.outcome, attempt.duration_ms) == (
        "completed",
        "answered",
        61_000,
    )
    assert (await shop.world.events(call_id))[-1]["data"]["duration_ms"] == 61_000
    version = await loaded(shop, claim)
    shop.at_retell(claim, **ANALYSIS)
    report = await shop.later()
    assert report.provisional == 0
    assert (await shop.world.call(call_id)).attempts[0].call_summary == "Booked."
    assert await shop.world.told(call_id) == ["initiated", "started", "completed"]
    assert await loaded(shop, claim) != version


async def loaded(shop: Shop, claim: Claim) -> Any:
    """The version of the attempt that the warehouse gets next, and what it says."""
    changes = await shop.world.ledger.warehouse.changes(100)
    [row] = [row for row in changes.attempts if row["attempt_id"] == claim.attempt_id]
    return row["version"], row["provisional"], row["call_summary"]


async def test_a_webhook_after_the_conclusion_corrects_it(shop: Shop) -> None:
    """Also one without a timestamp."""
    call_id, claim = await shop.placed()
    shop.at_retell(claim, **UNANSWERED)
    await shop.later()
    await shop.later(ANALYSIS_AFTER)
    assert await shop.world.told(call_id) == ["initiated", "failed"]
    await shop.world.hear(
        analyzed(claim, **UNANSWERED, event_timestamp=0, call_analysis={"call_summary": "Nobody."})
    )
    assert await shop.world.told(call_id) == ["initiated", "failed"]
    assert (await shop.world.call(call_id)).attempts[0].call_summary == "Nobody."
    assert (await shop.world.ledger.reconciliation.report()).provisional == 0


async def test_over_the_limit_and_never_analysed(shop: Shop) -> None:
    """Nothing rang: the call is still owed, and is dialed again."""
    call_id, claim = await shop.placed()
    shop.at_retell(
        claim, call_status="error", disconnection_reason="concurrency_limit_reached", duration_ms=0
    )
    await shop.later()
    await shop.later(ANALYSIS_AFTER)
    assert (await shop.world.call(call_id)).status == "queued"
    assert await shop.world.told(call_id) == ["initiated", "failed"]


async def vanishing(shop: Shop) -> tuple[str, Claim]:
    """A call that Retell forgets, dialed after one that it still knows."""
    _, witness = await shop.placed()
    await shop.world.hear(analyzed(witness))
    call_id, claim = await shop.placed()
    del shop.platform.calls[retell_id(claim)]
    return call_id, claim


async def test_a_call_that_retell_no_longer_knows(shop: Shop) -> None:
    """Asked twice, and with an earlier call known, it is lost, and its end told once."""
    call_id, claim = await vanishing(shop)
    report = await shop.later()
    assert (kinds(report), report.not_found) == ({}, 1)
    report = await shop.later()
    assert (kinds(report), report.not_found, report.provisional) == ({"not_found": 1}, 0, 1)
    record = await shop.world.call(call_id)
    assert (record.status, record.reason) == ("failed", "not_found")
    assert record.attempts[0].status == "lost"
    assert await shop.world.told(call_id) == ["initiated", "failed"]
    assert (await shop.world.events(call_id))[-1]["data"]["reason"] == "not_found"
    # Its line is free again.
    assert (await shop.world.ledger.dialing.permits()).free == 1000
    # And its own word, should it come after all, corrects the end and tells none.
    await shop.world.hear(analyzed(claim))
    record = await shop.world.call(call_id)
    assert (record.status, record.reason) == ("completed", None)
    assert await shop.world.told(call_id) == ["initiated", "failed"]
    assert await shop.world.alarms() == []


async def test_a_lost_call_that_is_found_again(shop: Shop) -> None:
    """It is asked about for a day more, then no longer."""
    call_id, claim = await vanishing(shop)
    await shop.later()
    await shop.later()
    shop.at_retell(claim, call_status="ongoing")
    await shop.later()
    assert (await shop.world.call(call_id)).attempts[0].status == "lost"
    shop.at_retell(claim, **CONNECTED, **ANALYSIS)
    report = await shop.later()
    assert kinds(report) == {"not_found": 1, "analysis_missed": 1}
    assert (await shop.world.call(call_id)).status == "completed"
    assert await shop.world.told(call_id) == ["initiated", "failed"]
    _, claim = await vanishing(shop)
    await shop.later()
    assert (await shop.later()).provisional == 1
    assert (await shop.later(86_400)).provisional == 0


async def test_news_between_two_questions(shop: Shop) -> None:
    """A call that was heard of since is not lost by an older answer."""
    call_id, claim = await vanishing(shop)
    await shop.later()
    await shop.world.hear(started(claim))
    assert (await shop.later()).not_found == 1
    assert (await shop.world.call(call_id)).status == "in_progress"


async def test_the_only_call_there_ever_was(shop: Shop) -> None:
    """With no earlier call to ask for, three answers are enough."""
    call_id, _ = await shop.placed()
    shop.platform.calls.clear()
    for _ in range(2):
        await shop.later()
        assert (await shop.world.call(call_id)).status == "in_progress"
    await shop.later()
    assert (await shop.world.call(call_id)).status == "failed"


async def test_another_workspaces_key(shop: Shop) -> None:
    """Five unknown calls in a row: nothing is closed, little asked, and it says so."""
    calls = [(await shop.placed())[0] for _ in range(7)]
    known = dict(shop.platform.calls)
    shop.platform.calls.clear()
    for _ in range(4):
        report = await shop.later()
        assert "is OUTDIAL_RETELL_API_KEY the key" in (report.trouble or "")
    with pytest.raises(Unavailable, match="OUTDIAL_RETELL_API_KEY"):
        await shop.reconciler.check()
    assert kinds(report) == {}
    assert {(await shop.world.call(one)).status for one in calls} == {"in_progress"}
    shop.platform.calls.update(known)
    report = await shop.later()
    assert report.trouble is None
    await shop.reconciler.check()


async def test_many_calls_are_really_gone(shop: Shop) -> None:
    """The key is doubted first; an earlier call that Retell knows clears it."""
    _, witness = await shop.placed()
    await shop.world.hear(analyzed(witness))
    calls = [await shop.placed() for _ in range(6)]
    for _, claim in calls:
        del shop.platform.calls[retell_id(claim)]
    report = await shop.later()
    assert (kinds(report), report.trouble is None) == ({}, False)
    report = await shop.later()
    while kinds(report) != {"not_found": 6}:
        assert report.trouble is None
        report = await shop.later()
    # That they stay unknown is no news, and no doubt of the key.
    for _ in range(3):
        report = await shop.later()
        assert (report.provisional, report.trouble) == (6, None)


async def test_a_single_call_with_another_workspaces_key(shop: Shop) -> None:
    """Earlier calls are asked for before one is closed: that they are unknown too tells the key."""
    for _ in range(4):
        _, over = await shop.placed()
        await shop.world.hear(analyzed(over))
    call_id, _ = await shop.placed()
    shop.platform.calls.clear()
    await shop.later()
    report = await shop.later()
    assert report.trouble is not None
    assert (await shop.world.call(call_id)).status == "in_progress"


async def test_a_lost_answer_is_adopted(shop: Shop) -> None:
    """A call at Retell whose attempt does not know it is told to the ledger."""
    call_id = await shop.world.accept()
    claim = await shop.world.claim(call_id)
    shop.at_retell(claim)
    # While its worker holds it, it is nobody else's.
    assert kinds(await shop.later(1)) == {}
    report = await shop.later(120)
    assert kinds(report) == {"adopted": 1}
    record = await shop.world.call(call_id)
    assert (record.status, record.attempts[0].retell_call_id) == ("in_progress", retell_id(claim))
    assert await shop.world.told(call_id) == ["initiated"]
    assert await shop.world.alarms() == []
    assert kinds(await shop.later(1)) == {"adopted": 1}


async def test_a_call_that_nobody_placed(shop: Shop) -> None:
    """Our name, and no attempt: recorded and alarmed of, once; a person has to look."""
    _, claim = await shop.world.placed()
    ids = {"outdial_call_id": "call-x", "outdial_attempt_id": "attempt-x"}
    stray = {"metadata": claim.body["metadata"] | ids}
    shop.at_retell(claim, "call_stray", **stray)
    for _ in range(2):
        report = await shop.later(1)
        assert kinds(report) == {"unknown_call": 1}
        assert report.unmended == 1
    assert await shop.world.alarms() == [("unknown_call", "call_stray")]
    [finding] = report.findings
    assert (finding.call_id, finding.attempt_id) == ("call-x", "attempt-x")


async def test_a_second_call_of_an_attempt_is_stopped(shop: Shop) -> None:
    """It is an alarm, and tells nothing."""
    call_id, claim = await shop.placed()
    shop.at_retell(claim, "call_second", call_status="ongoing")
    report = await shop.later(1)
    assert kinds(report) == {"second_call": 1}
    assert shop.platform.stopped == ["call_second"]
    assert await shop.world.alarms() == [("duplicate_dial", "call_second")]
    assert await shop.world.told(call_id) == ["initiated"]
    assert kinds(await shop.later(1)) == {"second_call": 1}


async def test_only_the_newest_are_searched(shop: Shop) -> None:
    """Two hours back, page by page; older ones are left alone. Others' calls too."""
    call_id = await shop.world.accept()
    claim = await shop.world.claim(call_id)
    now = await shop.world.now()
    shop.at_retell(claim, "call_old", **CONNECTED | {"start_timestamp": now - 3 * 3_600_000})
    _, known = await shop.world.placed()
    shop.at_retell(known, "call_older", start_timestamp=now - 3 * 3_600_000)
    shop.at_retell(known, start_timestamp=now)
    foreign = {"metadata": claim.body["metadata"] | {"outdial_deployment": "another"}}
    shop.at_retell(claim, "call_foreign", **foreign, start_timestamp=now)
    assert kinds(await shop.later(120)) == {"second_call": 1}
    # Which is the older one of the page that ended the search.
    assert {found.retell_call_id for found in (await shop.later(1)).findings} == {"call_older"}


async def test_several_reconcilers_at_once(shop: Shop) -> None:
    """Each silent call is asked about by one of them, and ends once."""
    calls = [await shop.placed() for _ in range(6)]
    for _, claim in calls:
        shop.at_retell(claim, **CONNECTED, **ANALYSIS)
    shop.world.ledger.clock.ahead += AFTER * 1000
    await asyncio.gather(*(shop.another().once() for _ in range(3)))
    for call_id, _ in calls:
        assert await shop.world.told(call_id) == ["initiated", "started", "completed"]
    assert kinds(await shop.later(1)) == {"analysis_missed": 6}


async def test_retell_is_away(shop: Shop) -> None:
    """Nothing is concluded; it says so, and what was not asked about comes again."""
    call_id, claim = await shop.placed()
    shop.platform.away = True
    with pytest.raises(Unavailable, match="Retell"):
        await shop.later()
    shop.platform.away = False
    shop.at_retell(claim, **CONNECTED, **ANALYSIS)
    await shop.later(120)
    assert (await shop.world.call(call_id)).status == "completed"


async def test_an_answer_about_another_call(shop: Shop) -> None:
    """It is no answer."""
    call_id, claim = await shop.placed()
    shop.at_retell(claim, call_id="call_other", **CONNECTED)
    with pytest.raises(Unavailable, match="another call"):
        await shop.later()
    assert await shop.world.told(call_id) == ["initiated"]


async def test_replay_of_what_was_learned(shop: Shop) -> None:
    """Stored answers replayed change nothing and tell nothing."""
    call_id, claim = await shop.placed()
    shop.at_retell(claim, **CONNECTED)
    await shop.later()
    await shop.later(ANALYSIS_AFTER)
    before = await shop.world.call(call_id)
    async for page in shop.world.ledger.inbox.stored(call_id=call_id):
        await shop.world.ledger.inbox.replay([one.id for one in page])
    after = await shop.world.call(call_id)
    assert after.attempts == before.attempts
    assert await shop.world.told(call_id) == ["initiated", "started", "completed"]


async def test_the_stage_runs_until_it_is_stopped(shop: Shop) -> None:
    """It mends by itself, says when Retell is away, and goes on when it is back."""
    call_id, claim = await shop.placed()
    shop.at_retell(claim, **CONNECTED, **ANALYSIS)
    shop.world.ledger.clock.ahead += AFTER * 1000
    running = asyncio.create_task(shop.reconciler.run())
    until = time.monotonic() + 30
    while (await shop.world.call(call_id)).status != "completed":
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    await shop.reconciler.check()
    await shop.reconciler.stop()
    await running


async def test_a_reconciler_that_dies_while_it_asks(shop: Shop) -> None:
    """What it had taken is asked about by another, once its minute is over."""
    call_id, claim = await shop.placed()
    shop.at_retell(claim, **CONNECTED, **ANALYSIS)
    asked = asyncio.Event()

    class Slow(MemoryPlatform):
        async def get_call(self, retell_call_id: str) -> dict[str, Any] | None:
            asked.set()
            await asyncio.Event().wait()
            return await super().get_call(retell_call_id)

    shop.world.ledger.clock.ahead += AFTER * 1000
    dying = asyncio.create_task(
        Reconciler(shop.world.ledger.reconciliation, Slow(), Rules()).once()
    )
    await asked.wait()
    dying.cancel()
    await asyncio.wait({dying})
    assert await shop.world.ledger.reconciliation.silent(10) == []
    shop.world.ledger.clock.ahead += 60_000
    assert len(await shop.world.ledger.reconciliation.silent(10)) == 1
    await shop.later(1)
    assert await shop.world.told(call_id) == ["initiated", "started", "completed"]

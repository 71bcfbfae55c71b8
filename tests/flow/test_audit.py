"""The audit on real databases: nothing to say of what is right, and every planted fault named."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Connection, update

from outdial.adapters.database.tables import provider_events
from outdial.audit import LISTED, RULES, Report
from outdial.core.call import Alarm
from outdial.errors import OutdialError, Unavailable
from tests.flow.audited import Audited, audited, live
from tests.ledger_world import analyzed, retell_id, started, unanswered


@pytest_asyncio.fixture
async def empty(ledger_url: str, tmp_path: Path) -> AsyncIterator[Audited]:
    """Nothing yet, on each database."""
    async with audited(ledger_url, tmp_path) as subject:
        yield subject


@pytest_asyncio.fixture
async def subject(empty: Audited) -> Audited:
    """A call in each state; ledger, warehouse and provider agree."""
    await live(empty)
    return empty


async def test_what_is_right_is_left_alone(subject: Audited) -> None:
    """Of every state a call, over several pages: no violation, and all of it was looked at."""
    report = await subject.audit()
    assert report.violations == []
    assert report.ok
    rows = {
        name: (await subject.world.rows(_count(name)))[0][0]
        for name in ("calls", "attempts", "activity_events", "provider_events")
    }
    assert rows["calls"] == 12
    assert {name: report.checked[name] for name in rows} == rows
    assert report.checked["warehouse_rows"] == (
        rows["calls"] + rows["attempts"] + rows["activity_events"]
    )
    assert report.checked["provider_calls"] == len(subject.platform.calls) == 7
    assert report.waiting == {"news": 3, "deferred": 1, "leased": 1, "its turn": 1, "scheduled": 1}
    assert report.provisional == 0
    assert not report.waiting_rows


def _count(table: str) -> Any:
    from sqlalchemy import text  # noqa: PLC0415

    return text(f"SELECT count(*) FROM {table}")  # noqa: S608 - our own names


async def test_an_empty_ledger_is_right(empty: Audited) -> None:
    """There is nothing to find fault with."""
    report = await empty.audit()
    assert report.ok
    assert report.checked["calls"] == 0


#: By what is planted: the rule that must name it, the call it is about, and how.
PLANTED: dict[str, tuple[str, str, str]] = {
    "a hint that nobody took": (
        "call_stuck",
        "queued",
        "UPDATE calls SET published_at = {now} - 7200000 WHERE id = '{queued}'",
    ),
    "a lease that is over": (
        "call_stuck",
        "claimed",
        "UPDATE attempts SET lease_until = {now} - 7200000 WHERE id = '{claimed_attempt}'",
    ),
    "a schedule that was missed": (
        "call_stuck",
        "scheduled",
        "UPDATE calls SET not_before = {now} - 7200000 WHERE id = '{scheduled}'",
    ),
    "an expiry that was missed": (
        "call_stuck",
        "queued",
        "UPDATE calls SET expires_at = {now} - 7200000 WHERE id = '{queued}'",
    ),
    "an end without an ended attempt": (
        "call_inconsistent",
        "ringing",
        "UPDATE calls SET status = 'completed' WHERE id = '{ringing}'",
    ),
    "an attempt too many": (
        "call_inconsistent",
        "talked",
        "UPDATE calls SET attempts = 2 WHERE id = '{talked}'",
    ),
    "an attempt left open": (
        "call_inconsistent",
        "again",
        "UPDATE attempts SET status = 'claimed' WHERE id = '{over_limit_attempt}'",
    ),
    "two attempts that rang": (
        "call_dialed_twice",
        "again",
        (
            "UPDATE attempts SET disconnection_reason = 'user_hangup' WHERE id = "
            "'{over_limit_attempt}'"
        ),
    ),
    "a line that nobody gives back": (
        "line_leaked",
        "talked",
        "UPDATE attempts SET line_open = true WHERE id = '{talked_attempt}'",
    ),
    "a call at the provider that the ledger has no id of": (
        "unknown_dial",
        "unanswered",
        "UPDATE attempts SET retell_call_id = NULL WHERE id = '{unanswered_attempt}'",
    ),
    "another call at the provider": (
        "attempt_dialed_twice",
        "talked",
        "UPDATE attempts SET retell_call_id = 'call_x' WHERE id = '{talked_attempt}'",
    ),
    "an event never processed": (
        "inbox_stuck",
        "talking",
        ("UPDATE provider_events SET processed_at = NULL WHERE attempt_id = '{talking_attempt}'"),
    ),
    "an analysis that is not kept": (
        "inbox_missing",
        "talked",
        (
            "DELETE FROM provider_events WHERE event = 'call_analyzed' AND "
            "attempt_id = '{talked_attempt}'"
        ),
    ),
    "an analysis kept otherwise": (
        "inbox_missing",
        "talked",
        (
            "UPDATE provider_events SET sha256 = 'other' WHERE event = 'call_analyzed' AND "
            "attempt_id = '{talked_attempt}'"
        ),
    ),
    "a body of another event": (
        "inbox_damaged",
        "talked",
        (
            "UPDATE provider_events SET body = (SELECT body FROM provider_events WHERE event = "
            "'call_ended' AND attempt_id = '{talked_attempt}') WHERE event = 'call_analyzed' AND "
            "attempt_id = '{talked_attempt}'"
        ),
    ),
    "an outcome that its analysis does not have": (
        "details_differ",
        "unanswered",
        (
            "UPDATE attempts SET outcome = 'answered', version = version + 1 WHERE id = "
            "'{unanswered_attempt}'"
        ),
    ),
    "an analysis without effect": (
        "inbox_unapplied",
        "unanswered",
        "UPDATE attempts SET status = 'initiated' WHERE id = '{unanswered_attempt}'",
    ),
    "a start without effect": (
        "inbox_unapplied",
        "talking",
        "UPDATE attempts SET status = 'initiated' WHERE id = '{talking_attempt}'",
    ),
    "an end that freed no line": (
        "inbox_unapplied",
        "analysing",
        "UPDATE attempts SET line_open = true WHERE id = '{analysing_attempt}'",
    ),
    "an event of ours kept as foreign": (
        "inbox_unapplied",
        "talking",
        (
            "UPDATE provider_events SET disposition = 'foreign', attempt_id = NULL, call_id = "
            "NULL WHERE attempt_id = '{talking_attempt}'"
        ),
    ),
    "an event of an attempt that is not there": (
        "inbox_unapplied",
        "talking",
        (
            "UPDATE provider_events SET attempt_id = 'gone', retell_call_id = 'call_gone' WHERE "
            "attempt_id = '{talking_attempt}'"
        ),
    ),
    "an end never told": (
        "attempt_end",
        "unanswered",
        "DELETE FROM activity_events WHERE call_id = '{unanswered}' AND sequence = 2",
    ),
    "an end told while it talks": (
        "attempt_end",
        "talking",
        (
            "UPDATE activity_events SET type = 'voice_call.failed' WHERE call_id = '{talking}' "
            "AND sequence = 2"
        ),
    ),
    "a beginning never told": (
        "attempt_end",
        "talked",
        "DELETE FROM activity_events WHERE call_id = '{talked}' AND sequence = 1",
    ),
    "nothing told at all": (
        "attempt_end",
        "ringing",
        "DELETE FROM activity_events WHERE call_id = '{ringing}'",
    ),
    "an attempt told as initiated that never was": (
        "attempt_end",
        "ringing",
        "UPDATE attempts SET status = 'deferred' WHERE id = '{ringing_attempt}'",
    ),
    "an end told of none": (
        "attempt_end",
        "ringing",
        "UPDATE attempts SET status = 'lost' WHERE id = '{ringing_attempt}'",
    ),
    "a call never told as not placed": (
        "call_end",
        "cancelled",
        "DELETE FROM activity_events WHERE call_id = '{cancelled}'",
    ),
    "a call told as not placed that waits": (
        "call_end",
        "cancelled",
        "UPDATE calls SET status = 'queued' WHERE id = '{cancelled}'",
    ),
    "a gap between events": (
        "activity_order",
        "talked",
        ("UPDATE activity_events SET sequence = 4 WHERE call_id = '{talked}' AND sequence = 3"),
    ),
    "an end before its beginning": (
        "activity_order",
        "unanswered",
        ("UPDATE activity_events SET sequence = 9 WHERE call_id = '{unanswered}' AND sequence = 1"),
    ),
    "an event told twice": (
        "activity_repeated",
        "talking",
        (
            "INSERT INTO activity_events (id, call_id, attempt_id, attempt, tenant, type, "
            "sequence, occurred_at, recorded_at, event, tries, loaded) SELECT 'again', call_id, "
            "attempt_id, attempt, tenant, type, 3, occurred_at, recorded_at, event, tries, "
            "loaded FROM activity_events WHERE call_id = '{talking}' AND sequence = 2"
        ),
    ),
    "an event that says something else": (
        "activity_identity",
        "talking",
        (
            "UPDATE activity_events SET event = replace(event, '{talking}', 'other') WHERE "
            "call_id = '{talking}' AND sequence = 2"
        ),
    ),
    "an event that is no JSON": (
        "activity_identity",
        "talking",
        ("UPDATE activity_events SET event = '[' WHERE call_id = '{talking}' AND sequence = 2"),
    ),
    "an event of an unknown type": (
        "activity_identity",
        "ringing",
        "UPDATE activity_events SET type = 'voice_call.x' WHERE call_id = '{ringing}'",
    ),
    "an event under another id": (
        "activity_identity",
        "ringing",
        "UPDATE activity_events SET id = 'other' WHERE call_id = '{ringing}'",
    ),
    "an event of another attempt": (
        "activity_identity",
        "ringing",
        "UPDATE activity_events SET attempt_id = 'gone' WHERE call_id = '{ringing}'",
    ),
    "an event without its attempt": (
        "activity_identity",
        "ringing",
        "UPDATE activity_events SET attempt_id = NULL WHERE call_id = '{ringing}'",
    ),
    "an event that nobody will deliver": (
        "activity_stranded",
        "ringing",
        "UPDATE calls SET outbox_due_at = NULL WHERE id = '{ringing}'",
    ),
    "a change that the warehouse was not told of": (
        "warehouse_differs",
        "refused",
        "UPDATE calls SET message = NULL, reason = 'x' WHERE id = '{refused}'",
    ),
    "a version of before": (
        "warehouse_differs",
        "refused",
        "UPDATE calls SET version = 1, loaded_version = 1 WHERE id = '{refused}'",
    ),
    "a call that is gone": (
        "warehouse_extra",
        "queued",
        "DELETE FROM calls WHERE id = '{queued}'",
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
async def test_a_fault_of_the_ledger_is_named(subject: Audited, planted: str) -> None:
    """The rule, the call and, where there is one, the attempt."""
    rule, name, statement = PLANTED[planted]
    await subject.plant(statement)
    report = await subject.audit()
    assert not report.ok
    named = [one for one in report.violations if one.rule == rule]
    assert {one.call_id for one in named} == {subject.calls[name]}, report.violations
    assert all(one.detail for one in named)
    # Nothing is said of any other call.
    assert {one.call_id for one in report.violations} == {subject.calls[name]}


#: Likewise, in the warehouse.
SPOILT: dict[str, tuple[str, str, str]] = {
    "a call that is gone": (
        "warehouse_missing",
        "talked",
        "DELETE FROM calls WHERE call_id = '{talked}'",
    ),
    "an attempt that is gone": (
        "warehouse_missing",
        "talked",
        "DELETE FROM call_attempts WHERE call_id = '{talked}'",
    ),
    "an event that is gone": (
        "warehouse_missing",
        "ringing",
        "DELETE FROM activity_events WHERE call_id = '{ringing}'",
    ),
    "an older version": (
        "warehouse_missing",
        "talked",
        "UPDATE call_attempts SET version = 1 WHERE call_id = '{talked}'",
    ),
    "a newer version": (
        "warehouse_differs",
        "talked",
        "UPDATE call_attempts SET version = 99 WHERE call_id = '{talked}'",
    ),
    "another price": (
        "warehouse_differs",
        "talked",
        "UPDATE call_attempts SET cost_usd = 0.126 WHERE call_id = '{talked}'",
    ),
    "another transcript": (
        "warehouse_differs",
        "talked",
        "UPDATE call_attempts SET transcript = NULL WHERE call_id = '{talked}'",
    ),
    "another answer": (
        "warehouse_differs",
        "talked",
        "UPDATE call_attempts SET in_voicemail = true WHERE call_id = '{talked}'",
    ),
    "a row twice": (
        "warehouse_extra",
        "talked",
        "INSERT INTO calls SELECT * FROM calls WHERE call_id = '{talked}'",
    ),
}


async def test_a_body_that_can_not_be_opened_is_named(subject: Audited) -> None:
    """With the event's id, whatever is in its place."""
    talked = provider_events.c.attempt_id == subject.claims["talked"].attempt_id

    def damage(connection: Connection) -> None:
        connection.execute(update(provider_events).where(talked).values(body=b"no zlib"))

    await subject.world.ledger.database.transact(damage)
    report = await subject.audit()
    assert report.counts == {"inbox_damaged": 3}
    assert {violation.call_id for violation in report.violations} == {subject.calls["talked"]}


async def test_what_differs_from_its_analysis_is_mended_by_a_replay(subject: Audited) -> None:
    """It is named with its columns; fed to the ledger again, the analysis is shown as it came."""
    await subject.plant(
        "UPDATE attempts SET outcome = 'busy', cost_usd = 9, version = version + 1 WHERE id = "
        "'{talked_attempt}'"
    )
    await subject.load()
    report = await subject.audit()
    assert report.counts == {"details_differ": 1}
    assert "outcome, cost_usd" in report.violations[0].detail
    inbox = subject.world.ledger.inbox
    async for page in inbox.stored(call_id=subject.calls["talked"]):
        await inbox.replay([event.id for event in page])
    await subject.load()
    assert (await subject.audit()).ok


@pytest.mark.parametrize("spoilt", SPOILT)
async def test_a_fault_of_the_warehouse_is_named(subject: Audited, spoilt: str) -> None:
    """Against the ledger, which is right."""
    rule, name, statement = SPOILT[spoilt]
    await subject.spoil(statement)
    report = await subject.audit()
    assert [(one.rule, one.call_id) for one in report.violations] == [(rule, subject.calls[name])]


@pytest.mark.parametrize("call_id", ["0", "z"])
async def test_a_row_that_the_ledger_lacks_is_named(subject: Audited, call_id: str) -> None:
    """Before the first call, and after the last."""
    await subject.warehouse.query(
        f"INSERT INTO call_attempts (attempt_id, call_id, version) VALUES ('a', '{call_id}', 1)"  # noqa: S608
    )
    [violation] = (await subject.audit()).violations
    assert (violation.rule, violation.call_id) == ("warehouse_extra", call_id)


async def test_rows_on_their_way_are_no_fault(subject: Audited) -> None:
    """What was not loaded yet waits, and is counted."""
    await subject.world.hear(analyzed(subject.claims["analysing"]))
    await subject.world.accept()
    report = await subject.audit()
    assert report.violations == []
    assert report.waiting_rows == {"calls": 2, "call_attempts": 1, "activity_events": 1}


async def test_rows_that_are_loaded_meanwhile_are_no_fault(subject: Audited) -> None:
    """The ledger is read first: what the warehouse has more of is looked at again."""
    digests = subject.audit_warehouse()
    news: list[Callable[[], Awaitable[Any]]] = [
        lambda: subject.world.hear(analyzed(subject.claims["analysing"])),
        subject.world.accept,
    ]

    async def loaded() -> None:
        for one in news:
            await one()
        await subject.load()
        news.clear()

    report = await subject.audit(warehouse=Meanwhile(digests, loaded))
    assert report.violations == []


class Meanwhile:
    """A warehouse before whose every answer something happens."""

    def __init__(self, behind: Any, happens: Callable[[], Awaitable[None]]) -> None:
        """`behind`: the real one."""
        self._behind = behind
        self._happens = happens

    async def between(self, after: str, last: str | None) -> Any:
        """See the port."""
        await self._happens()
        return await self._behind.between(after, last)

    async def of_calls(self, call_ids: Any) -> Any:
        """See the port."""
        await self._happens()
        return await self._behind.of_calls(call_ids)


async def test_a_call_of_ours_that_nobody_knows_is_named(subject: Audited) -> None:
    """Its metadata names our deployment, and an attempt that was never made."""
    claim = subject.claims["talked"]
    claim.body["metadata"] = {
        **claim.body["metadata"],
        "outdial_attempt_id": "never-made",
        "outdial_call_id": "never-accepted",
    }
    subject.listed(claim, "call_orphan")
    [violation] = (await subject.audit()).violations
    assert (violation.rule, violation.call_id) == ("unknown_dial", "never-accepted")
    assert "call_orphan" in violation.detail


async def test_calls_of_others_are_theirs(subject: Audited) -> None:
    """Another deployment may dial through the same workspace."""
    claim = subject.claims["talked"]
    claim.body["metadata"] = {**claim.body["metadata"], "outdial_deployment": "theirs"}
    subject.listed(claim, "call_theirs")
    assert (await subject.audit()).ok


@pytest.mark.parametrize("name", ["talked", "claimed"])
async def test_a_second_call_for_an_attempt_is_named(subject: Audited, name: str) -> None:
    """Whether or not the answer to the first one has come."""
    claim = subject.claims[name]
    subject.listed(claim)
    assert (await subject.audit()).ok
    subject.listed(claim, "call_second")
    [violation] = (await subject.audit()).violations
    assert (violation.rule, violation.call_id) == ("attempt_dialed_twice", subject.calls[name])
    assert "call_second" in violation.detail
    assert retell_id(claim) in violation.detail


async def test_a_second_call_that_was_heard_of_is_named(subject: Audited) -> None:
    """By the inbox, and by the alarm that it raised."""
    await subject.world.hear(started(subject.claims["talked"], retell_call_id="call_second"))
    report = await subject.audit()
    assert {one.rule for one in report.violations} == {"attempt_dialed_twice", "duplicate_dial"}
    assert {one.call_id for one in report.violations} == {subject.calls["talked"]}


@pytest.mark.parametrize("alarm", Alarm)
async def test_an_alarm_is_named(subject: Audited, alarm: Alarm) -> None:
    """Whatever raised it: it stays for good."""
    await subject.plant(
        "INSERT INTO alarms (id, kind, call_id, attempt_id, retell_call_id, raised_at) "  # noqa: S608
        f"VALUES ('a', '{alarm}', '{{talked}}', '{{talked_attempt}}', 'call_x', 1)",
    )
    [violation] = (await subject.audit()).violations
    assert (violation.rule, violation.call_id) == (alarm, subject.calls["talked"])
    assert "call_x" in violation.detail


async def test_what_rang_after_proof_is_named(subject: Audited) -> None:
    """The alarm stays for good."""
    await subject.world.hear(started(subject.claims["refused"]))
    report = await subject.audit()
    assert "rang_after_proof" in {one.rule for one in report.violations}


async def test_what_was_found_after_it_was_lost_is_named(subject: Audited) -> None:
    """It was told as never placed, and rang."""
    await subject.plant(
        "UPDATE attempts SET status = 'lost', retell_call_id = NULL, told_initiated = false "
        "WHERE id = '{ringing_attempt}'",
    )
    await subject.world.hear(unanswered(subject.claims["ringing"]))
    report = await subject.audit()
    assert "found_after_lost" in {one.rule for one in report.violations}


async def test_a_silent_call_that_the_provider_lists_as_talking_waits(subject: Audited) -> None:
    """A long conversation is no fault."""
    await _silence(subject)
    report = await subject.audit()
    assert report.ok
    assert report.waiting["news"] == 3


@pytest.mark.parametrize("status", [None, "ended", "not_connected"])
async def test_a_silent_call_that_is_over_is_named(subject: Audited, status: str | None) -> None:
    """Nothing was heard of it for hours, and the provider ended it, or knows it no more."""
    await _silence(subject)
    call = subject.platform.calls[retell_id(subject.claims["ringing"])]
    if status is None:
        del subject.platform.calls[call["call_id"]]
    else:
        call["call_status"] = status
    [violation] = (await subject.audit()).violations
    assert (violation.rule, violation.call_id) == ("call_stuck", subject.calls["ringing"])
    assert call["call_id"] in violation.detail


async def test_a_silent_call_is_not_judged_unasked(subject: Audited) -> None:
    """Without the provider nobody knows; it is counted."""
    await _silence(subject)
    report = await subject.audit(provider=None)
    assert report.ok
    assert report.waiting["news (overdue, nobody asked)"] == 1


async def _silence(subject: Audited) -> None:
    await subject.plant(
        "UPDATE attempts SET claimed_at = {now} - 10800000, version = version + 1, "
        "initiated_at = {now} - 10800000, silent_since = {now} - 10800000 "
        "WHERE id = '{ringing_attempt}'",
    )


async def test_a_call_due_for_long_that_nobody_publishes_is_named(empty: Audited) -> None:
    """Where none is ahead of it; with one ahead it waits for its turn."""
    empty.calls["queued"] = await empty.world.accept()
    await empty.plant("UPDATE calls SET due_at = {now} - 7200000 WHERE id = '{queued}'")
    [violation] = (await empty.audit()).violations
    assert (violation.rule, violation.call_id) == ("call_stuck", empty.calls["queued"])
    await empty.world.placed()
    assert (await empty.audit()).ok


@pytest.mark.parametrize(
    ("tenant", "campaign", "waiting"),
    [(None, None, "paused"), ("acme", None, "paused"), (None, "nurses", "paused")],
)
async def test_a_paused_call_has_a_reason_to_wait(
    empty: Audited, tenant: str | None, campaign: str | None, waiting: str
) -> None:
    """However long, and whichever stop button holds it."""
    empty.calls["queued"] = await empty.world.accept(campaign="nurses")
    await empty.plant("UPDATE calls SET due_at = {now} - 7200000 WHERE id = '{queued}'")
    await empty.world.ledger.intake.pause(tenant, campaign)
    report = await empty.audit()
    assert report.ok
    assert report.waiting == {waiting: 1}


async def test_a_call_behind_an_open_circuit_has_a_reason_to_wait(subject: Audited) -> None:
    """Also one whose lease is over: nobody takes it over meanwhile."""
    await subject.plant(
        "UPDATE workspace SET circuit_reason = '401', circuit_opened_at = {now}",
        "UPDATE calls SET due_at = {now} - 7200000 WHERE id = '{queued}'",
        "UPDATE attempts SET lease_until = {now} - 7200000 WHERE id = '{claimed_attempt}'",
    )
    report = await subject.audit()
    assert report.ok
    assert report.waiting["circuit"] >= 2


async def test_a_lease_that_was_published_again_has_a_reason_to_wait(subject: Audited) -> None:
    """Its hint is on the way to whoever takes it over."""
    await subject.plant(
        "UPDATE attempts SET lease_until = {now} - 120000 WHERE id = '{claimed_attempt}'",
        "UPDATE calls SET published_at = {now} - 110000 WHERE id = '{claimed}'",
    )
    assert (await subject.audit()).ok


async def test_a_stuck_call_is_looked_at_again(subject: Audited) -> None:
    """Dialing that was resumed a moment ago is no fault."""
    await subject.plant("UPDATE calls SET published_at = {now} - 7200000 WHERE id = '{queued}'")
    looks = 0

    async def resume(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            await subject.plant("UPDATE calls SET published_at = {now} WHERE id = '{queued}'")

    report = await subject.audit_with(resume)
    assert report.ok
    assert report.waiting["published"] == 1
    assert looks == 2


async def test_what_can_not_be_reached_was_not_checked(subject: Audited) -> None:
    """That is not well; what was asked to be left out is no fault."""
    away = Unavailable("warehouse", "another process has it open")
    report = await subject.audit(warehouse=away, provider=OutdialError("no key is set"))
    assert [(one.rule, one.detail) for one in report.violations] == [
        ("not_checked", f"warehouse: {away}"),
        ("not_checked", "provider: no key is set"),
    ]
    assert report.checked["calls"] == 12
    report = await subject.audit(warehouse=None, provider=None)
    assert report.ok
    assert {"warehouse_rows", "provider_calls"}.isdisjoint(report.checked)


async def test_what_breaks_off_was_not_checked(subject: Audited) -> None:
    """The provider, at its list or when a silent call is asked about; the warehouse half-way."""
    subject.platform.away = True
    await subject.warehouse.query("DROP TABLE activity_events")
    report = await subject.audit()
    assert {one.rule for one in report.violations} == {"not_checked"}
    assert [one.detail.partition(":")[0] for one in report.violations] == ["warehouse", "provider"]


async def test_a_provider_that_goes_away_at_the_end_was_not_checked(subject: Audited) -> None:
    """Nobody could say what became of the silent call."""
    await _silence(subject)

    class Half:
        calls_of = subject.platform.calls_of

        @staticmethod
        async def get_call(_: str) -> None:
            raise Unavailable("Retell", "away")

    [violation] = (await subject.audit(provider=Half())).violations
    assert violation.rule == "not_checked"


class Failing:
    """A ledger that does not answer one kind of question any more."""

    def __init__(self, behind: Any, method: str) -> None:
        """`method`: which."""
        self._behind = behind
        self._method = method

    def __getattr__(self, name: str) -> Any:
        """The method, or its failure."""

        async def fail(*_: Any) -> None:
            raise Unavailable("database", "away")

        return fail if name == self._method else getattr(self._behind, name)


@pytest.mark.parametrize(
    "method", ["extent", "calls", "calls_by_id", "events", "alarms", "attempts"]
)
async def test_a_ledger_that_goes_away_ends_the_audit(subject: Audited, method: str) -> None:
    """Whenever it does, and whatever it was just compared with: nothing goes without it."""
    await _silence(subject)
    await subject.spoil("DELETE FROM calls WHERE call_id = '{talked}'")
    with pytest.raises(Unavailable, match="database"):
        await subject.audit(ledger=Failing(subject.audit_ledger(), method))


async def test_a_ledger_that_goes_away_at_the_end_ends_the_audit(subject: Audited) -> None:
    """There too."""
    await _silence(subject)
    with pytest.raises(Unavailable, match="database"):
        await subject.audit(ledger=Failing(subject.audit_ledger(), "calls_by_id"))


async def test_provisional_ends_are_counted(subject: Audited) -> None:
    """They are no fault: the provider may yet say otherwise."""
    await subject.plant(
        "UPDATE attempts SET provisional = true, version = version + 1 "
        "WHERE id = '{talked_attempt}'",
    )
    report = await subject.audit()
    assert report.ok
    assert report.provisional == 1


def test_more_violations_than_are_listed_are_counted() -> None:
    """An audit's memory is bounded."""
    from outdial.audit import Violation  # noqa: PLC0415

    report = Report()
    for number in range(LISTED + 5):
        report.add(Violation("call_stuck", str(number), None, ""))
    report.add(Violation("call_end", "x", None, ""))
    assert len(report.violations) == LISTED + 1
    assert report.counts == {"call_stuck": LISTED + 5, "call_end": 1}


def test_every_rule_can_fail() -> None:
    """Each one has a fault planted above; every alarm has one of its own."""
    planted = {rule for rule, *_ in (*PLANTED.values(), *SPOILT.values())}
    assert planted | set(Alarm) | {"not_checked"} == set(RULES)

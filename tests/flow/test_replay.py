"""Feeding stored provider events in again: what is right stays, what is wrong is mended."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Connection, select

from outdial.adapters.database.tables import metadata
from outdial.ports.inbox import Disposition
from tests.flow.audited import Audited, audited, live
from tests.flow.program import Program
from tests.ledger_world import analyzed, started, webhook

SEEDS = range(3)


@pytest_asyncio.fixture
async def subject(ledger_url: str, tmp_path: Path) -> AsyncIterator[Audited]:
    """A call in each state, with all that makes them special."""
    async with audited(ledger_url, tmp_path) as opened:
        await live(opened)
        talked, ringing = opened.claims["talked"], opened.claims["ringing"]
        # Analysed again; before that, a later word that loses; a second call; a late start.
        await opened.world.hear(analyzed(talked, event_timestamp=1_700_000_009_000, duration_ms=5))
        await opened.world.hear(analyzed(talked, event_timestamp=1_600_000_000_000, duration_ms=7))
        await opened.world.hear(started(talked, retell_call_id="call_second"))
        await opened.world.hear(started(opened.claims["unanswered"]))
        await opened.world.hear(webhook(ringing, "transcript_updated"))
        yield opened


async def everything(subject: Audited) -> dict[str, list[Any]]:
    """Every row of every table."""

    def look(connection: Connection) -> dict[str, list[Any]]:
        return {
            table.name: [
                tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))
            ]
            for table in metadata.sorted_tables
        }

    return await subject.world.ledger.database.read(look)


async def stored(subject: Audited) -> list[str]:
    """Ids of all provider events, as they came."""
    pages = subject.world.ledger.inbox.stored()
    return [event.id for events in [page async for page in pages] for event in events]


@pytest.mark.parametrize("seed", SEEDS)
async def test_replaying_everything_changes_nothing(subject: Audited, seed: int) -> None:
    """In any order, an hour later: every row of every table stays as it is."""
    before = await everything(subject)
    ids = await stored(subject)
    assert len(ids) == len(before["provider_events"]) == 17
    random.Random(seed).shuffle(ids)  # noqa: S311 - an order, no secret
    subject.world.ledger.clock.ahead += 3_600_000
    taken = await subject.world.ledger.inbox.replay(ids)
    assert {one.disposition for one in taken} == {Disposition.APPLIED, Disposition.FOREIGN}
    for event_id in ids:
        await subject.world.ledger.inbox.replay([event_id])
    assert await everything(subject) == before


async def test_replaying_mends_what_was_read_wrongly(subject: Audited) -> None:
    """As after a fault in processing: details come right, and no event is told again."""
    told = await subject.world.told(subject.calls["talked"])
    await subject.plant(
        "UPDATE attempts SET cost_usd = 99, call_summary = NULL WHERE id = '{talked_attempt}'"
    )
    await subject.world.ledger.inbox.replay(await stored(subject))
    [attempt] = (await subject.world.call(subject.calls["talked"])).attempts
    assert (attempt.cost_usd, attempt.call_summary) == (0.125, "Booked.")
    assert await subject.world.told(subject.calls["talked"]) == told


async def test_replaying_takes_in_what_was_taken_for_foreign(subject: Audited) -> None:
    """Its call is known by now; from then on it is that call's."""
    unnamed = webhook(subject.claims["claimed"], "call_started", metadata={})
    [taken] = await subject.world.hear(unnamed)
    assert taken.disposition is Disposition.FOREIGN
    await subject.plant(
        "UPDATE attempts SET retell_call_id = 'call_{claimed_attempt}' "
        "WHERE id = '{claimed_attempt}'"
    )
    assert "inbox_unapplied" in (await subject.audit()).counts
    await subject.world.ledger.inbox.replay(await stored(subject))
    assert await subject.world.told(subject.calls["claimed"]) == ["initiated", "started"]
    assert "inbox_unapplied" not in (await subject.audit()).counts


async def test_the_command_passes_over_what_is_damaged(
    subject: Audited, ledger_url: str, tmp_path: Path
) -> None:
    """A body that is not what came is named and never applied; all others are replayed."""
    await subject.plant(
        "UPDATE provider_events SET body = (SELECT body FROM provider_events WHERE event = "
        "'call_ended' AND attempt_id = '{analysing_attempt}') WHERE event = 'call_started' AND "
        "attempt_id = '{talking_attempt}'"
    )
    before = await everything(subject)
    program = Program(tmp_path, {"OUTDIAL_DATABASE_URL": ledger_url})
    told = await asyncio.to_thread(program.finish, "events", "replay", "--json")
    assert told.returncode == 1
    assert told.stdout.strip() == '{"applied": 15, "foreign": 1, "failed": 1}'
    assert "is not what was hashed as it came" in told.stderr
    assert "Traceback" not in told.stderr
    assert await everything(subject) == before


async def test_the_command_replays_everything(
    subject: Audited, ledger_url: str, tmp_path: Path
) -> None:
    """`outdial events replay`, on either database, beside whatever runs."""
    before = await everything(subject)
    program = Program(tmp_path, {"OUTDIAL_DATABASE_URL": ledger_url})
    told = await asyncio.to_thread(program.finish, "events", "replay", "--json")
    assert told.returncode == 0, told.stderr
    assert told.stdout.strip() == '{"applied": 16, "foreign": 1, "failed": 0}'
    assert await everything(subject) == before

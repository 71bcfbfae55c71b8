"""What the stages ask of the ledger is answered by indexes, however many rows there are."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outdial.core.reconciling import Drift
from outdial.core.submission import Unanswered
from outdial.ports.outbox import Delivered
from outdial.ports.platform import ListedCall
from outdial.ports.reconciliation import Learned
from tests.ledger_world import analyzed, open_world, started
from tests.noted_statements import noted_statements

_TABLES = "calls|attempts|provider_events|activity_events|idempotency_keys|drift"
#: Indexes that hold only what waits for somebody: going through one of them is no scan of history.
_WAITING = (
    "due|due_at|published|scheduled|expiring|outbox|unloaded|line_open|lease|parked|silent|unmended"
)
_SCAN = re.compile(rf"SCAN ({_TABLES})\b(?!.* USING .*INDEX ix_\w+?_({_WAITING})\b)")


@pytest.fixture
def statements() -> Iterator[dict[str, Any]]:
    """Every statement that runs from now on, with parameters of one of its runs."""
    with noted_statements() as seen:
        yield seen


async def test_no_stage_scans_a_table(tmp_path: Path, statements: dict[str, Any]) -> None:
    """A call's whole life, its doubts and its deliveries, without one full scan."""
    path = tmp_path / "ledger.db"
    async with open_world(f"sqlite:///{path}") as world:
        ledger = world.ledger
        statements.clear()
        doubtful = await world.accept(idempotency_key="k", request_hash="h")
        await world.answer(await world.claim(doubtful), Unanswered("time-out"))
        await world.accept(campaign="c", expires_at=await world.now() + 1)
        ledger.clock.ahead += 60_000
        await ledger.due_calls.promote()
        await ledger.due_calls.lease_due(10)
        await ledger.due_calls.republish_lost_hints(5_000)
        [doubt] = await ledger.dialing.take_over(10)
        await ledger.dialing.may_submit_again(doubt)
        await world.answer(doubt, Unanswered("time-out"))
        await ledger.dialing.status()
        await ledger.dialing.second_dials(10)
        call_id, claim = await world.placed()
        await world.hear(started(claim), analyzed(claim))
        await ledger.intake.published_ahead()
        await ledger.intake.get("acme", call_id)
        await ledger.intake.page("acme", external_id="x")
        await ledger.intake.cancel("acme", call_id)
        await ledger.activity.settle(
            [Delivered(one) for one in await ledger.activity.lease_deliveries(10, 30)]
        )
        await ledger.warehouse.loaded(await ledger.warehouse.changes(100))
        await world.placed()
        ledger.clock.ahead += 900_000
        reconciliation = ledger.reconciliation
        [silent] = await reconciliation.silent(10)
        await reconciliation.witnesses(silent, 4)
        await reconciliation.learned(Learned(silent, 1, drift=Drift.NOT_FOUND, vanished=True))
        listed = ListedCall("call_stray", None, None)
        await reconciliation.claim_search(0)
        await reconciliation.unknown([listed])
        await reconciliation.adopt(listed, [b'{"event":"call_found","call":{"call_id":"stray"}}'])
        await reconciliation.silent(10, unasked_since=0)
        await reconciliation.report()
        async for page in ledger.inbox.stored(call_id=call_id):
            await ledger.inbox.replay([one.id for one in page])
    scans = []
    with sqlite3.connect(path) as connection:
        for statement, parameters in statements.items():
            if not statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
                continue
            plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            scans += [(row[3], statement) for row in plan if _SCAN.match(row[3])]
    assert len(statements) > 30
    assert scans == []


def test_a_scan_would_be_seen() -> None:
    """SQLite's own words for a scan, and for a walk over what waits."""
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE calls (id TEXT PRIMARY KEY, status TEXT, due_at INTEGER)")
        connection.execute("CREATE INDEX ix_calls_due ON calls (due_at) WHERE status = 'queued'")
        ask = "EXPLAIN QUERY PLAN SELECT due_at FROM calls WHERE status = "
        [history] = connection.execute(ask + "'failed'")
        [in_order] = connection.execute(ask + "'failed' ORDER BY id")
        [waiting] = connection.execute(ask + "'queued'")
    assert _SCAN.match(history[3])
    assert _SCAN.match(in_order[3])
    assert not _SCAN.match(waiting[3])

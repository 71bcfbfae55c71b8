"""With a million calls behind it, every stage finds its rows by an index on PostgreSQL."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Connection, Table, text

from outdial.adapters.database.tables import (
    activity_events,
    attempts,
    calls,
    idempotency_keys,
    provider_events,
)
from outdial.core.submission import Unanswered
from outdial.ports.outbox import Delivered
from tests.ledger_world import World, analyzed, open_world, started
from tests.noted_statements import noted_statements
from tests.postgres_server import PostgresServer

ROWS = 1_000_000
#: A statement of a stage reads no more rows of a large table than this, however few it wants.
MOST_READ = 2_000
#: How the million differ from the one whose story they repeat. Ids are older than any made now.
_ID = "'0190' || lpad(to_hex(n), 8, '0')"
_FILL: Mapping[Table, Mapping[str, str]] = {
    calls: {"id": _ID, "external_id": "'e' || n", "created_at": "created_at - n * 1000"},
    attempts: {
        "id": "'a' || n",
        "call_id": _ID,
        "retell_call_id": "'r' || n",
        "body": "'{}'::jsonb",
        "transcript": "null",
    },
    provider_events: {
        "id": "'p' || n",
        "call_id": _ID,
        "attempt_id": "'a' || n",
        "retell_call_id": "'r' || n",
        "received_at": "received_at - n * 1000",
        "body": "''::bytea",
    },
    activity_events: {"id": "'v' || n", "call_id": _ID, "attempt_id": "'a' || n", "event": "'{}'"},
    idempotency_keys: {"key": "'k' || n", "call_id": _ID, "created_at": "created_at - n * 1000"},
}
_BIG = frozenset(table.name for table in _FILL)


@pytest_asyncio.fixture
async def world(postgres_server: PostgresServer, postgres_template: str) -> AsyncIterator[World]:
    """A ledger with a million calls that ended long ago, each with all its rows."""
    with postgres_server.database("million", postgres_template) as url:
        async with open_world(url) as opened:
            call_id, claim = await opened.placed(idempotency_key="k0", request_hash="h")
            await opened.hear(analyzed(claim))
            await _settled(opened)
            database = opened.ledger.database
            for table, changes in _FILL.items():
                await database.transact(partial(_multiply, table, changes, call_id), bulk=True)
            await database.transact(lambda c: c.execute(text("ANALYZE")).close(), bulk=True)
            yield opened


async def _settled(world: World) -> None:
    ledger = world.ledger
    while deliveries := await ledger.activity.lease_deliveries(10, 30):
        await ledger.activity.settle([Delivered(one) for one in deliveries])
    await ledger.warehouse.loaded(await ledger.warehouse.changes(100))


def _multiply(
    table: Table, changes: Mapping[str, str], call_id: str, connection: Connection
) -> None:
    """Copy one row a million times. Indexes are made afterwards, foreign keys hold by design."""
    defined = text("""
        SELECT indexname, indexdef FROM pg_indexes
        WHERE tablename = :table AND NOT EXISTS (
            SELECT FROM pg_constraint WHERE conname = indexname)
    """)
    indexes = connection.execute(defined, {"table": table.name}).all()
    for index in indexes:
        connection.execute(text(f'DROP INDEX "{index.indexname}"'))
    names = [column.name for column in table.columns]
    values = ", ".join(changes.get(name, f"one.{name}") for name in names)
    found = "id" if table is calls else "call_id"
    connection.execute(text("SET LOCAL session_replication_role = replica"))
    connection.execute(text("SET LOCAL maintenance_work_mem = '256MB'"))
    connection.execute(
        text(
            f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {values} FROM "  # noqa: S608
            f"(SELECT * FROM {table.name} WHERE {found} = :id LIMIT 1) AS one, "
            "generate_series(1, :rows) AS n"
        ),
        {"id": call_id, "rows": ROWS},
    )
    for index in indexes:
        connection.execute(text(index.indexdef))


@pytest.fixture
def statements() -> Iterator[dict[str, Any]]:
    """Every statement that runs from now on."""
    with noted_statements() as seen:
        yield seen


@pytest.mark.long
async def test_no_stage_scans_a_million_rows(world: World, statements: dict[str, Any]) -> None:
    """Neither planned for the values at hand nor for any; and none walks through history."""
    scan = await _faults(world, "SELECT id FROM calls WHERE message = 'x'", ())
    assert "Seq Scan of calls" in scan
    walk = await _faults(world, "SELECT id FROM calls ORDER BY id LIMIT 10000", ())
    assert walk == ["10000 rows of calls read by pk_calls"]
    statements.clear()
    await _a_day_of_every_stage(world)
    asked = {
        statement: parameters
        for statement, parameters in statements.items()
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH"))
    }
    assert len(asked) > 30
    faults = [
        (fault, statement)
        for statement, parameters in asked.items()
        for fault in await _faults(world, statement, parameters)
    ]
    assert faults == []


async def _a_day_of_every_stage(world: World) -> None:
    ledger = world.ledger
    doubtful = await world.accept(idempotency_key="fresh", request_hash="h")
    await ledger.intake.key_use("acme", "fresh")
    await world.answer(await world.claim(doubtful), Unanswered("time-out"))
    await world.accept(campaign="c", expires_at=await world.now() + 1)
    ledger.clock.ahead += 60_000
    await ledger.due_calls.promote()
    await ledger.due_calls.lease_due(10)
    await ledger.due_calls.republish_lost_hints(5_000)
    await ledger.dialing.permits()
    await ledger.dialing.measured(1, 20, 0, asked_at=await world.now())
    await ledger.dialing.may_submit_again(await world.claim(doubtful))
    call_id, claim = await world.placed()
    await world.hear(started(claim), analyzed(claim))
    await ledger.inbox.seen("r1", "call_started", "0")
    await ledger.intake.published_ahead()
    await ledger.intake.get("acme", call_id)
    await ledger.intake.page("acme", external_id="x")
    await ledger.intake.page("acme")
    await ledger.intake.cancel("acme", call_id)
    await ledger.activity.settle(
        [Delivered(one) for one in await ledger.activity.lease_deliveries(10, 30)]
    )
    await ledger.activity.undeliverable()
    await ledger.activity.redrive()
    await ledger.warehouse.loaded(await ledger.warehouse.changes(100))
    await ledger.warehouse.waiting()
    async for page in ledger.inbox.stored(call_id=call_id):
        await ledger.inbox.replay([one.id for one in page])


async def _faults(world: World, statement: str, parameters: Any) -> list[str]:
    """What a plan does that no stage may do; each in words."""

    def work(connection: Connection) -> list[str]:
        nodes = [
            node
            for options in ("GENERIC_PLAN", "ANALYZE")[: 2 if statement.startswith("SELECT") else 1]
            for [plans] in connection.exec_driver_sql(
                f"EXPLAIN ({options}, FORMAT JSON) {statement}", parameters
            )
            for plan in (json.loads(plans) if isinstance(plans, str) else plans)
            for node in _nodes(plan["Plan"])
        ]
        connection.exec_driver_sql("ROLLBACK")
        return [fault for node in nodes for fault in _fault(node)]

    return await world.ledger.database.read(work)


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def _fault(node: Mapping[str, Any]) -> Iterator[str]:
    table = node.get("Relation Name")
    if table not in _BIG:
        return
    if node["Node Type"] == "Seq Scan":
        yield f"Seq Scan of {table}"
    read = node.get("Actual Rows", 0) + node.get("Rows Removed by Filter", 0)
    if read * node.get("Actual Loops", 1) > MOST_READ:
        yield f"{read:.0f} rows of {table} read by {node.get('Index Name')}"

"""What a batch costs PostgreSQL in statements: each is a round trip, and no batch has one a row."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
import uuid_utils
from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import ExecuteStyle

from outdial.core.submission import Placed
from outdial.ports.dialing import Answer, Claim
from outdial.ports.intake import NewCall
from outdial.ports.outbox import Delivered
from tests.ledger_world import World, analyzed, open_world, retell_id, started

BATCH = 10


@pytest_asyncio.fixture
async def world(postgres_server: Any, postgres_template: str) -> AsyncIterator[World]:
    """An empty ledger on PostgreSQL."""
    with postgres_server.database("counted", postgres_template) as url:
        async with open_world(url) as opened:
            yield opened


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """Every statement as the server gets it: one that runs for many rows counts as many."""
    seen: list[str] = []

    def note(
        _connection: Any,
        _cursor: Any,
        statement: str,
        parameters: Any,
        context: Any,
        executemany: bool,  # noqa: FBT001
    ) -> None:
        each = executemany and context.execute_style is ExecuteStyle.EXECUTEMANY
        seen.extend([statement] * (len(parameters) if each else 1))

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


async def _claimed(world: World, statements: list[str]) -> list[Claim]:
    ids = [await world.accept(metadata={"job": n}) for n in range(BATCH)]
    statements.clear()
    claims = await world.ledger.dialing.claim(ids)
    return [claim for claim in claims if isinstance(claim, Claim)]


async def _record(world: World, claims: list[Claim], submission: Any) -> None:
    await world.ledger.dialing.record(
        [Answer(one.call_id, one.attempt_id, one.lease_token, submission(one)) for one in claims]
    )


async def test_a_claim_of_ten_takes_five_statements_at_most(
    world: World, statements: list[str]
) -> None:
    """Fresh calls, and calls taken over from a worker that died."""
    claims = await _claimed(world, statements)
    assert len(claims) == BATCH
    assert len(statements) <= 5
    world.ledger.clock.ahead += 600_000
    mixed = [claim.call_id for claim in claims[:5]] + [await world.accept() for _ in range(5)]
    statements.clear()
    again = await world.ledger.dialing.claim(mixed)
    assert [claim.look_up_first for claim in again if isinstance(claim, Claim)] == (
        [True] * 5 + [False] * 5
    )
    assert len(statements) <= 5


async def test_ten_answers_take_five_statements_at_most(
    world: World, statements: list[str]
) -> None:
    """Attempts, calls and activity events of all of them."""
    claims = await _claimed(world, statements)
    statements.clear()
    await _record(world, claims, lambda claim: Placed(retell_id(claim)))
    assert len(statements) <= 5
    assert [await world.told(claim.call_id) for claim in claims] == [["initiated"]] * BATCH


@pytest.mark.parametrize("tell", [started, analyzed])
async def test_a_commit_of_ten_webhooks_takes_five_statements_at_most(
    world: World, statements: list[str], tell: Any
) -> None:
    """Inbox rows, attempts with their details, calls and activity events."""
    claims = await _claimed(world, statements)
    await _record(world, claims, lambda claim: Placed(retell_id(claim)))
    statements.clear()
    await world.hear(*(tell(claim) for claim in claims))
    assert len(statements) <= 5
    told = [await world.told(claim.call_id) for claim in claims]
    assert min(len(types) for types in told) > 1


async def test_the_outboxes_take_five_statements_a_round_at_most(
    world: World, statements: list[str]
) -> None:
    """Settled deliveries, and rows that the warehouse has now."""
    claims = await _claimed(world, statements)
    await _record(world, claims, lambda claim: Placed(retell_id(claim)))
    deliveries = await world.ledger.activity.lease_deliveries(BATCH, 30)
    assert len(deliveries) == BATCH
    statements.clear()
    refused = [Delivered(one, "503", retry_ms=1000) for one in deliveries[:5]]
    await world.ledger.activity.settle(refused + [Delivered(one) for one in deliveries[5:]])
    assert len(statements) <= 5
    changes = await world.ledger.warehouse.changes(1000)
    assert changes.count == 3 * BATCH
    statements.clear()
    await world.ledger.warehouse.loaded(changes)
    assert len(statements) <= 5
    assert await world.ledger.warehouse.waiting() == 0


async def test_accepting_ten_calls_takes_three_statements(
    world: World, statements: list[str]
) -> None:
    """The time, their keys, the calls."""
    calls = [
        NewCall(
            id=str(uuid_utils.uuid7()),
            tenant="acme",
            to_number="+12125550101",
            idempotency_key=f"key-{n}",
            request_hash="same",
        )
        for n in range(BATCH)
    ]
    statements.clear()
    await world.ledger.intake.accept(calls, publish=False)
    assert len(statements) == 3

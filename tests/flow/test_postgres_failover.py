"""Calls live their lives while PostgreSQL goes away: nothing is lost, nothing done twice."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pytest_asyncio
from sqlalchemy import text

from outdial.core.submission import Placed
from outdial.errors import Unavailable
from outdial.ports.dialing import Claim
from outdial.ports.outbox import Delivered
from tests.ledger_world import RULES, World, analyzed, open_world, retell_id, started
from tests.postgres_server import PostgresServer, running_server

T = TypeVar("T")
CALLS = 60
WORKERS = 6
#: Short, so that what a worker lost hold of is soon taken over.
_LEASE_MS = 300


@pytest_asyncio.fixture
async def server() -> AsyncIterator[PostgresServer]:
    """A server of its own, which may be stopped; what it acknowledged is on disk."""
    with running_server() as found:
        found.run("ALTER SYSTEM SET synchronous_commit = on")
        found.run("SELECT pg_reload_conf()")
        yield found


@dataclass
class _Life:
    """The calls' lives, by workers that try again whatever fails."""

    world: World
    dialed: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    outages: int = 0
    one_more: asyncio.Event = field(default_factory=asyncio.Event)

    async def one(self, call_id: str) -> None:
        """Claimed, dialed, ended, told."""
        claim = await self._claimed(call_id)
        if not claim.look_up_first or not self.dialed[claim.attempt_id]:
            self.dialed[claim.attempt_id] += 1
        await self._again(lambda: self.world.answer(claim, Placed(retell_id(claim))))
        await self._again(lambda: self.world.hear(started(claim), analyzed(claim)))
        await self._again(self._deliver)
        self.ended += 1
        self.one_more.set()

    async def _claimed(self, call_id: str) -> Claim:
        while True:
            [claim] = await self._again(lambda: self.world.ledger.dialing.claim([call_id]))
            if isinstance(claim, Claim):
                return claim
            # Ours, and its answer was lost with the connection: until its lease is over.
            await asyncio.sleep(_LEASE_MS / 3000)

    async def _deliver(self) -> None:
        deliveries = await self.world.ledger.activity.lease_deliveries(10, 0.3)
        await self.world.ledger.activity.settle([Delivered(one) for one in deliveries])

    async def _again(self, step: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await step()
            except Unavailable:
                self.outages += 1
                await asyncio.sleep(0.02)


async def test_nothing_is_lost_or_doubled_when_the_server_goes_away(
    server: PostgresServer,
) -> None:
    """Connections cut four times among busy workers, and the server killed and started anew."""
    with server.database("failover") as url:
        async with open_world(url, replace(RULES, lease_ms=_LEASE_MS)) as world:
            ids = [await world.accept() for _ in range(CALLS)]
            life = _Life(world)
            waiting = asyncio.Queue[str]()
            for call_id in ids:
                waiting.put_nowait(call_id)

            async def work() -> None:
                while not waiting.empty():
                    await life.one(waiting.get_nowait())

            workers = [asyncio.create_task(work()) for _ in range(WORKERS)]
            for share in range(1, 6):
                while life.ended < share * CALLS / 6:
                    life.one_more.clear()
                    await life.one_more.wait()
                if share == 3:
                    await asyncio.to_thread(server.crash_and_restart)
                else:
                    await asyncio.to_thread(server.run, _CUT)
            await asyncio.gather(*workers)
            await life._again(life._deliver)
            assert life.outages >= 5
            await _all_is_right(world, ids, life)


async def _all_is_right(world: World, ids: list[str], life: _Life) -> None:
    told = Counter([tuple(await world.told(call_id)) for call_id in ids])
    assert told == {("initiated", "started", "completed"): CALLS}
    assert {(await world.call(call_id)).status.value for call_id in ids} == {"completed"}
    assert await world.rows(text("SELECT count(*) FROM attempts")) == [(CALLS,)]
    # An attempt may be submitted again under its key; no call has two attempts.
    assert len(life.dialed) == CALLS
    assert await world.rows(text("SELECT count(*) FROM provider_events")) == [(2 * CALLS,)]
    assert await world.alarms() == []


_CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = 'failover' AND pid <> pg_backend_pid()"
)

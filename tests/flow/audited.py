"""A ledger, a warehouse and a provider that agree, with a call in every state: to be audited."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from outdial.adapters.database.audit import LedgerAudit
from outdial.adapters.duckdb import DuckDBWarehouse
from outdial.adapters.memory.platform import MemoryPlatform
from outdial.analytics.digests import WarehouseDigests
from outdial.analytics.loader import Loader
from outdial.audit import Auditor, Report, Sources, Times
from outdial.core.submission import Placed, Refused, Throttled
from outdial.ports.dialing import Claim
from tests.ledger_world import World, analyzed, ended, open_world, retell_id, started, unanswered

TIMES = Times(republish=600_000, reconcile=900_000, analysis=900_000)
HOUR = 3_600_000


@dataclass
class Audited:
    """What is audited. `calls`: ids by what became of them; `claims`: their latest claims."""

    world: World
    warehouse: DuckDBWarehouse
    platform: MemoryPlatform = field(default_factory=MemoryPlatform)
    calls: dict[str, str] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)

    async def audit(self, **sources: Any) -> Report:
        """Judge it; `sources` in place of the warehouse and the provider."""
        return await self._judge(_at_once, sources)

    async def audit_with(self, sleep: Callable[[float], Awaitable[None]]) -> Report:
        """Judge it; `sleep` is what happens while it waits."""
        return await self._judge(sleep, {})

    def audit_ledger(self) -> LedgerAudit:
        """The ledger, as an audit reads it."""
        return LedgerAudit(self.world.ledger.database, self.world.ledger.clock)

    def audit_warehouse(self) -> WarehouseDigests:
        """The warehouse, likewise."""
        return WarehouseDigests(self.warehouse)

    async def _judge(
        self, sleep: Callable[[float], Awaitable[None]], sources: dict[str, Any]
    ) -> Report:
        found = {
            "ledger": self.audit_ledger(),
            "warehouse": self.audit_warehouse(),
            "provider": self.platform,
            **sources,
        }
        # Pages of three calls, so that several are read.
        return await Auditor(Sources(**found), TIMES, sleep=sleep, page=3).run()

    async def plant(self, *statements: str) -> None:
        """Change the ledger behind everybody's back. `{name}` is a call, `{name_attempt}` its own.

        `{now}` is the ledger's clock.
        """
        words: dict[str, Any] = {**self.calls, "now": await self.world.now()}
        words |= {f"{name}_attempt": claim.attempt_id for name, claim in self.claims.items()}

        def work(connection: Connection) -> None:
            for statement in statements:
                # As text that holds colons in strings, which name no parameter.
                sql = statement.format(**words).replace(":", r"\:")
                changed = connection.execute(text(sql))
                assert changed.rowcount == 1, statement

        await self.world.ledger.database.transact(work)

    async def spoil(self, statement: str) -> None:
        """Change the warehouse likewise."""
        words = {f"{name}_attempt": claim.attempt_id for name, claim in self.claims.items()}
        await self.warehouse.query(statement.format(**self.calls, **words))

    def listed(self, claim: Claim, retell_call_id: str | None = None) -> None:
        """The provider has this call."""
        found = retell_call_id or retell_id(claim)
        metadata = claim.body["metadata"]
        self.platform.calls[found] = {
            "call_id": found,
            "call_status": "ongoing",
            "metadata": metadata,
        }

    async def load(self) -> None:
        """Everything that waits goes to the warehouse."""
        await Loader(self.world.ledger.warehouse, self.warehouse).drain()


async def _at_once(_seconds: float) -> None:
    """No time has to pass here."""


@asynccontextmanager
async def audited(url: str, folder: Path) -> AsyncIterator[Audited]:
    """At this URL of an empty ledger."""
    async with open_world(url) as world:
        warehouse = DuckDBWarehouse(folder / "warehouse.duckdb")
        await warehouse.upgrade()
        try:
            yield Audited(world, warehouse)
        finally:
            await warehouse.close()


async def live(subject: Audited) -> None:
    """Let a call come to each state, and load them all."""
    world = subject.world
    await _again(subject)
    now = await world.now()
    await _placed(subject, "talked", started, ended, analyzed)
    await _placed(subject, "unanswered", unanswered)
    await _placed(subject, "ringing")
    await _placed(subject, "talking", started)
    await _placed(subject, "analysing", started, ended)
    for name, answer in (
        ("refused", Refused(422, "no such agent")),
        ("deferred", Throttled("busy")),
    ):
        call_id = subject.calls[name] = await world.accept()
        claim = subject.claims[name] = await world.claim(call_id)
        await world.answer(claim, answer)
    subject.calls["claimed"] = await world.accept()
    subject.claims["claimed"] = await world.claim(subject.calls["claimed"])
    subject.calls["queued"] = await world.accept(campaign="nurses")
    subject.calls["scheduled"] = await world.accept(not_before=now + HOUR)
    subject.calls["cancelled"] = await world.accept()
    await world.ledger.intake.cancel(None, subject.calls["cancelled"])
    foreign = b'{"event":"call_started","call":{"call_id":"call_theirs"}}'
    await world.hear(foreign)
    await subject.load()


async def _again(subject: Audited) -> None:
    """Over the limit at first, so that nothing rang; then it talked."""
    world = subject.world
    call_id, first = await world.placed()
    subject.listed(first)
    await world.hear(unanswered(first, "concurrency_limit_reached"))
    world.ledger.clock.ahead += 60_000
    second = await world.claim(call_id)
    await world.answer(second, Placed(retell_id(second)))
    subject.listed(second)
    await world.hear(started(second), ended(second), analyzed(second))
    subject.calls["again"] = call_id
    subject.claims |= {"again": second, "over_limit": first}


async def _placed(subject: Audited, name: str, *heard: Any) -> None:
    call_id, claim = await subject.world.placed()
    subject.calls[name], subject.claims[name] = call_id, claim
    subject.listed(claim)
    if heard:
        await subject.world.hear(*(say(claim) for say in heard))

"""How long an audit takes, and how much memory: on a generated ledger of so many ended calls.

    python -m benchmarks.audit [CALLS]        200,000 by default, on SQLite and DuckDB

One call is carried through the real ledger and then copied, with ids of its own, so that every
rule has all of its work to do. The provider's list is made up a page at a time.
"""

import asyncio
import resource
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import uuid_utils

from outdial.adapters.database.audit import LedgerAudit
from outdial.adapters.database.claiming import attempt_id
from outdial.adapters.duckdb import DuckDBWarehouse
from outdial.analytics.digests import WarehouseDigests
from outdial.analytics.loader import Loader
from outdial.audit import Auditor, Report, Sources, Times
from outdial.core.activity import event_id
from outdial.core.call import ActivityType
from outdial.ports.platform import ListedCall
from tests.ledger_world import World, analyzed, ended, open_world, started

PORTION = 5_000


def main() -> None:
    """Generate, load, audit, print."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder), calls))


async def run(folder: Path, calls: int) -> None:
    """Everything in one process, whose peak is read before and after the audit."""
    path = folder / "ledger.db"
    async with open_world(f"sqlite:///{path}") as world:
        call_id, claim = await world.placed()
        await world.hear(started(claim), ended(claim), analyzed(claim, transcript="Hello. " * 200))
        copies = await asyncio.to_thread(multiply, path, call_id, claim.attempt_id, calls - 1)
        warehouse = DuckDBWarehouse(folder / "warehouse.duckdb")
        await warehouse.upgrade()
        began = moment()
        await Loader(world.ledger.warehouse, warehouse).drain()
        told("loading the warehouse", began)
        report = await judged(world, warehouse, [(call_id, claim.attempt_id), *copies])
        print("checked:", dict(report.checked), "violations:", dict(report.counts))
        await warehouse.close()


async def judged(world: World, warehouse: DuckDBWarehouse, calls: list[tuple[str, str]]) -> Report:
    """Audit it all, saying what that took."""
    ledger = LedgerAudit(world.ledger.database, world.ledger.clock)
    deployment = (await ledger.extent()).deployment
    provider: Any = Provider(deployment, calls)
    sources = Sources(ledger, WarehouseDigests(warehouse), provider)
    before, began = peak(), moment()
    report = await Auditor(sources, Times(600_000, 900_000, 900_000)).run()
    told(f"the audit of {len(calls):,} calls", began)
    print(f"peak memory {before:.0f} MB before it, {peak():.0f} MB after it")
    return report


class Provider:
    """Lists every call; nothing else is asked."""

    def __init__(self, deployment: str, calls: list[tuple[str, str]]) -> None:
        """Ids of calls and attempts."""
        self._deployment = deployment
        self._calls = calls

    async def calls_of(self, deployment: str) -> AsyncIterator[list[ListedCall]]:
        """See `ports.platform`."""
        assert deployment == self._deployment
        for start in range(0, len(self._calls), 1000):
            page = self._calls[start : start + 1000]
            yield [ListedCall(f"call_{attempt}", call, attempt) for call, attempt in page]


def multiply(path: Path, call_id: str, attempt: str, copies: int) -> list[tuple[str, str]]:
    """Copy the call's rows; ids of the copies."""
    began = moment()
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous=OFF")
    rows = {
        table: [
            dict(row)
            for row in connection.execute(f"SELECT * FROM {table} WHERE {key} = ?", (call_id,))  # noqa: S608
        ]
        for table, key in (
            ("calls", "id"),
            ("attempts", "call_id"),
            ("activity_events", "call_id"),
            ("provider_events", "call_id"),
        )
    }
    made = []
    for start in range(0, copies, PORTION):
        portion = [new_ids() for _ in range(min(PORTION, copies - start))]
        made += portion
        for table, originals in rows.items():
            for original in originals:
                names = ", ".join(original)
                marks = ", ".join("?" * len(original))
                connection.executemany(
                    f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608 - our own names
                    renamed(table, original, (call_id, attempt), portion),
                )
        connection.commit()
    connection.close()
    told(f"generating {copies:,} calls", began)
    return made


def new_ids() -> tuple[str, str]:
    """Of a call and its attempt."""
    call = str(uuid_utils.uuid7())
    return call, attempt_id(call, 1)


def renamed(
    table: str, row: dict[str, Any], old: tuple[str, str], new: list[tuple[str, str]]
) -> Iterator[tuple[Any, ...]]:
    """The row once for each of the new ids."""
    for call, attempt in new:
        values = [
            value.replace(old[0], call).replace(old[1], attempt)
            if isinstance(value, str)
            else value
            for value in row.values()
        ]
        copy = dict(zip(row, values, strict=True))
        if table == "activity_events":
            copy["id"] = event_id(attempt, ActivityType(row["type"]))
            copy["event"] = copy["event"].replace(row["id"], copy["id"])
        elif table == "provider_events":
            copy["id"] = uuid.uuid4().hex
        yield tuple(copy.values())


def moment() -> tuple[float, float]:
    """Now, by the clock and by the processor."""
    return time.monotonic(), time.process_time()


def told(what: str, began: tuple[float, float]) -> None:
    """How long it took."""
    clock, processor = (now - then for now, then in zip(moment(), began, strict=True))
    print(f"{what} took {clock:.1f} s, {processor:.1f} s of a processor", flush=True)


def peak() -> float:
    """The most memory this process ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()

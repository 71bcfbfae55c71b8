"""Where a process can be killed: a name for each step that another process must be able to mend.

Nothing in the program knows of this. The adapters' methods are wrapped before the stages are put
together, so what runs is the real thing up to the very call, and SIGKILL does the rest.
"""

import asyncio
import functools
import importlib
import os
import signal
import urllib.request
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from sqlalchemy import Connection, event

_DATABASE = "outdial.adapters.database"
_QUEUE = "outdial.adapters.sqlite_queue.queue:SQLiteQueue"
#: Each place is a method of an adapter: `module:Class.method`; a queue's with the queue's name.
PLACES: Mapping[str, str] = {
    "accept": f"{_DATABASE}.intake:LedgerIntake.accept",
    "claim": f"{_DATABASE}.dialing:LedgerDialing.claim",
    "may submit again": f"{_DATABASE}.dialing:LedgerDialing.may_submit_again",
    "record": f"{_DATABASE}.dialing:LedgerDialing.record",
    "submit": "outdial.adapters.retell:RetellPlatform.submit",
    "look up": "outdial.adapters.retell:RetellPlatform.find_attempt",
    "take": f"{_DATABASE}.inbox:LedgerInbox.take",
    "take silent": f"{_DATABASE}.reconciliation:LedgerReconciliation.silent",
    "ask": "outdial.adapters.retell:RetellPlatform.get_call",
    "learn": f"{_DATABASE}.reconciliation:LedgerReconciliation.learned",
    "lease due calls": f"{_DATABASE}.due_calls:LedgerDueCalls.lease_due",
    "lease deliveries": f"{_DATABASE}.activity_outbox:LedgerActivityOutbox.lease_deliveries",
    "settle deliveries": f"{_DATABASE}.activity_outbox:LedgerActivityOutbox.settle",
    "deliver": "outdial.adapters.sinks.http:HttpSink.deliver",
    "load": "outdial.adapters.duckdb:DuckDBWarehouse.load",
    "note loaded": f"{_DATABASE}.warehouse_outbox:LedgerWarehouseOutbox.loaded",
    "park": "outdial.adapters.folder_parking:FolderParking.put",
    "fetch parked": "outdial.adapters.folder_parking:FolderParking.get",
    "remove parked": "outdial.adapters.folder_parking:FolderParking.delete",
    "send hints": f"{_QUEUE}.send@calls",
    "receive hints": f"{_QUEUE}.receive@calls",
    "delete hints": f"{_QUEUE}.delete@calls",
    "send events": f"{_QUEUE}.send@events",
    "receive events": f"{_QUEUE}.receive@events",
    "delete events": f"{_QUEUE}.delete@events",
}
#: They come back empty-handed most of the time; there is nothing to lose then.
_OFTEN_EMPTY = frozenset(
    {"receive hints", "receive events", "take silent", "lease due calls", "lease deliveries"}
)


@dataclass(frozen=True, slots=True)
class Point:
    """A place, and whether just before it, in it, or just after it.

    `commit`: everything is written, the commit is not. `during`: the platform has placed the call
    and its answer is still under way. `of`: only where this word is in what is received or taken.
    """

    when: Literal["before", "commit", "during", "after"]
    place: str
    of: str = ""

    def __str__(self) -> str:
        """As the table shows it."""
        return f"{self.when} {self.place}" + (f" of {self.of}" if self.of else "")


_point_in_force: ContextVar[Callable[[], NoReturn] | None] = ContextVar("point", default=None)


def arm(point: Point, witness: Path, dials_url: str) -> None:
    """Have this process kill itself at `point`, and note in `witness` that it got there.

    `dials_url`: where the simulator tells what it placed.
    """
    path, _, queue = PLACES[point.place].partition("@")
    module, _, name = path.partition(":")
    class_name, _, method = name.partition(".")
    owner = getattr(importlib.import_module(module), class_name)
    original = getattr(owner, method)

    def die() -> NoReturn:
        witness.write_text(str(point))
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    @functools.wraps(original)
    async def wrapped(self: Any, *arguments: Any, **options: Any) -> Any:
        if (queue and self.name != queue) or _nothing_in(arguments):
            return await original(self, *arguments, **options)
        if point.when != "after" and point.of not in repr(arguments):
            return await original(self, *arguments, **options)
        if point.when == "before":
            die()
        if point.when == "during":
            _die_when_placed(arguments[0]["idempotency_key"], dials_url, die)
        token = _point_in_force.set(die if point.when == "commit" else None)
        try:
            result = await original(self, *arguments, **options)
        finally:
            _point_in_force.reset(token)
        found = result or point.place not in _OFTEN_EMPTY
        if point.when == "after" and found and point.of in repr((arguments, result)):
            die()
        return result

    setattr(owner, method, wrapped)
    if point.when == "commit":
        _watch_commits()


def _nothing_in(arguments: tuple[Any, ...]) -> bool:
    return bool(arguments) and arguments[0] == []


def _watch_commits() -> None:
    """A unit of work of the wrapped call ends its process where its commit would begin."""
    for path in ("sqlite:SqliteDatabase", "postgresql:PostgresDatabase"):
        module, _, name = path.partition(":")
        owner = getattr(importlib.import_module(f"{_DATABASE}.{module}"), name)
        owner.transact = _dying_in_commit(owner.transact)


def _dying_in_commit(transact: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(transact)
    async def wrapped(self: Any, work: Callable[[Connection], Any], **options: Any) -> Any:
        die = _point_in_force.get()
        if die is None:
            return await transact(self, work, **options)

        def run(connection: Connection) -> Any:
            result = work(connection)
            event.listen(connection, "commit", lambda _: die())
            return result

        return await transact(self, run, **options)

    return wrapped


def _die_when_placed(key: str, dials_url: str, die: Callable[[], NoReturn]) -> None:
    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            if key in await loop.run_in_executor(None, _get, dials_url):
                die()
            await asyncio.sleep(0.005)

    _watchers.append(asyncio.get_running_loop().create_task(watch()))


_watchers: list[asyncio.Task[None]] = []


def _get(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as answer:
        text: str = answer.read().decode()
        return text

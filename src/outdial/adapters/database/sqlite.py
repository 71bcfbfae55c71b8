"""SQLite: one thread writes, and takes all waiting units of work into one commit.

A durable commit costs an fsync; grouping lets everybody who waits share it. Readers have
connections of their own and, by WAL, hinder nobody.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from outdial.adapters.database.engine import Work
from outdial.adapters.database.faults import DATABASE, translated
from outdial.errors import Unavailable

T = TypeVar("T")
#: Units in one commit: what they cost holds up the event loop.
_GROUP = 64
_READERS = 4
#: Page caches, a connection each.
_READ_CACHE_KB = 2_000
_WRITE_CACHE_KB = 8_000
#: Other processes (the command line) write as well; waiting for them is no fault.
_BUSY_SECONDS = 30
_ASK_AGAIN_SECONDS = 0.01


@dataclass(slots=True)
class _Unit:
    """A unit of work and who waits for it."""

    work: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"
    bulk: bool
    result: Any = None
    error: BaseException | None = None


class SqliteDatabase:
    """The database in a file; see `engine.Database`."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened before the first use."""
        self._path = path
        self._waiting: queue.SimpleQueue[_Unit | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._readers: ThreadPoolExecutor | None = None
        self._read_engine: Engine | None = None
        self._closed = False

    @property
    def url(self) -> str:
        """As configured; there is no password in it."""
        return f"sqlite:///{self._path}"

    async def transact(self, work: Work[T], *, bulk: bool = False) -> T:
        """See `engine.Database.transact`."""
        if self._closed:
            raise Unavailable(DATABASE, "it was closed")
        self._start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.put(_Unit(work, loop, future, bulk))
        with translated():
            return await future

    async def read(self, work: Work[T]) -> T:
        """See `engine.Database.read`."""
        if self._closed:
            raise Unavailable(DATABASE, "it was closed")
        if self._readers is None:
            self._readers = ThreadPoolExecutor(_READERS, "outdial-read")
            self._read_engine = _engine(
                self._path, begin="BEGIN", pool_size=_READERS, cache_kb=_READ_CACHE_KB
            )
        engine = self._read_engine

        def run() -> T:
            assert engine is not None  # noqa: S101 - made together with the pool
            with engine.connect() as connection:
                return work(connection)

        with translated():
            return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    async def migrate(self, work: Work[T]) -> T:
        """See `engine.Database.migrate`: one transaction, for a schema changes like rows."""
        return await self.transact(work, bulk=True)

    async def close(self) -> None:
        """What waits is still written."""
        self._closed = True
        if self._thread is not None:
            self._waiting.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        if self._readers is not None:
            self._readers.shutdown(wait=True)
        if self._read_engine is not None:
            self._read_engine.dispose()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._write, name="outdial-write", daemon=True
                )
                self._thread.start()

    def _write(self) -> None:
        engine = _engine(self._path, begin="BEGIN IMMEDIATE", pool_size=1, cache_kb=_WRITE_CACHE_KB)
        while True:
            group = self._next_group()
            if not group:
                break
            _run_group(engine, group)
            _answer(group)
        engine.dispose()

    def _next_group(self) -> list[_Unit]:
        first = self._waiting.get()
        group = [] if first is None else [first]
        while group and len(group) < _GROUP:
            try:
                unit = self._waiting.get_nowait()
            except queue.Empty:
                break
            if unit is None:
                self._waiting.put(None)
                break
            group.append(unit)
        return group


def _run_group(engine: Engine, group: list[_Unit]) -> None:
    if len(group) > 1 and _run_together(engine, group):
        return
    for place, unit in enumerate(group):
        if not _run_alone(engine, unit):
            _lock_out(group[place + 1 :], unit.error)
            return


def _run_together(engine: Engine, group: list[_Unit]) -> bool:
    """False where the whole group was undone, so that each is owed an answer of its own."""
    began = False
    try:
        with engine.begin() as connection:
            began = True
            _beside(group, lambda: _run_each(connection, group))
    except (DBAPIError, OSError) as error:
        if not began:
            _lock_out(group, error)
        return not began
    return True


def _run_alone(engine: Engine, unit: _Unit) -> bool:
    """False where no transaction could be begun."""
    began = False
    unit.error = None
    try:
        with engine.begin() as connection:
            began = True
            _beside([unit], lambda: setattr(unit, "result", unit.work(connection)))
    except BaseException as error:  # noqa: BLE001 - handed on to whoever waits for it
        unit.error = error
        return began
    return True


def _beside(group: list[_Unit], run: Callable[[], object]) -> None:
    """Run short units on the event loop's thread, while this one waits; long ones here.

    SQLite lets go of the interpreter at every step of a statement, and a thread beside a busy
    loop waits for it each time: the same work took twice as long here. Locks and the fsync are
    waited for in this thread, so the loop is held up by work it would have paid for anyway.
    """
    loop = group[0].loop
    if any(unit.bulk for unit in group) or loop.is_closed():
        run()
        return
    done = threading.Event()
    failed: list[BaseException] = []

    def call() -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            failed.append(error)
        finally:
            done.set()

    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        run()
        return
    while not done.wait(1.0):
        if loop.is_closed():
            # Nobody is left to run it, nor to hear of it.
            raise OSError("the event loop was closed meanwhile")
    if failed:
        raise failed[0]


def _lock_out(units: list[_Unit], error: BaseException | None) -> None:
    """Who keeps the file from one keeps it from all: each would wait as long for the same."""
    for unit in units:
        unit.error = error


def _run_each(connection: Connection, group: list[_Unit]) -> None:
    for unit in group:
        _run_in_savepoint(connection, unit)


def _run_in_savepoint(connection: Connection, unit: _Unit) -> None:
    connection.exec_driver_sql("SAVEPOINT unit")
    try:
        unit.result = unit.work(connection)
    except (DBAPIError, OSError):
        raise
    except BaseException as error:  # noqa: BLE001 - handed on to whoever waits for it
        unit.error = error
        connection.exec_driver_sql("ROLLBACK TO unit")
    connection.exec_driver_sql("RELEASE unit")


def _answer(group: list[_Unit]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Unit]] = {}
    for unit in group:
        by_loop.setdefault(unit.loop, []).append(unit)
    for loop, units in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, units)


def _resolve(units: list[_Unit]) -> None:
    for unit in units:
        if unit.future.done():
            continue
        if unit.error is not None:
            unit.future.set_exception(unit.error)
        else:
            unit.future.set_result(unit.result)


def _engine(path: Path, *, begin: str, pool_size: int, cache_kb: int) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        connect_args={"check_same_thread": False, "timeout": _BUSY_SECONDS},
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        # The driver must not open transactions by itself: `begin` below does.
        connection.isolation_level = None
        if path.stat().st_size == 0:
            # For its owner only, and so will be what SQLite puts beside it. Not by opening it:
            # closing a file anywhere in a process drops every lock that SQLite has on it there.
            path.chmod(0o600)
        _log_ahead(connection)
        for pragma in (
            "synchronous=FULL",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            f"cache_size=-{cache_kb}",
            "journal_size_limit=67108864",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _log_ahead(connection: sqlite3.Connection) -> None:
    # Of those that change a new file's journal at once SQLite refuses all but one, instead of
    # letting them wait: whoever asks again finds it done.
    give_up = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            return connection.execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
        time.sleep(_ASK_AGAIN_SECONDS)

"""SQLite as the ledger's database: grouped commits, one fault one answer, several processes."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from outdial.adapters.database import sqlite
from outdial.adapters.database.engine import open_database
from outdial.adapters.database.sqlite import SqliteDatabase
from outdial.errors import ConfigurationError, Unavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with one table, `rows(n UNIQUE)`."""
    path = tmp_path / "some.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE rows (n INTEGER UNIQUE)")
    connection.close()
    return path


@pytest_asyncio.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    """Opened on it."""
    database = SqliteDatabase(path)
    yield database
    await database.close()


@contextmanager
def noting(name: str) -> Iterator[list[Connection]]:
    """One entry each time this happens, `begin` or `commit`."""
    seen: list[Connection] = []

    def note(connection: Connection) -> None:
        seen.append(connection)

    event.listen(Engine, name, note)
    yield seen
    event.remove(Engine, name, note)


@pytest.fixture
def commits() -> Iterator[list[Connection]]:
    """One entry a commit from now on."""
    with noting("commit") as seen:
        yield seen


def put(number: int) -> Callable[[Connection], int]:
    """A unit of work that writes one row."""

    def work(connection: Connection) -> int:
        connection.execute(text("INSERT INTO rows VALUES (:n)"), {"n": number})
        return number

    return work


def fail(connection: Connection) -> None:
    """A unit of work that writes, and then is at fault."""
    put(99)(connection)
    raise ValueError("at fault")


def numbers(connection: Connection) -> list[int]:
    """What is in the table."""
    return list(connection.execute(text("SELECT n FROM rows ORDER BY n")).scalars())


class Gate:
    """A unit of work that keeps the writer busy until `open`."""

    def __init__(self) -> None:
        """Shut."""
        self._reached = threading.Event()
        self._opened = threading.Event()

    def __call__(self, connection: Connection) -> None:
        """Wait in the writer's thread."""
        self._reached.set()
        assert self._opened.wait(30)

    async def reached(self) -> None:
        """Return once the writer waits."""
        assert await asyncio.to_thread(self._reached.wait, 30)

    def open(self) -> None:
        """Let the writer go on."""
        self._opened.set()


async def together(database: SqliteDatabase, *works: Callable[[Connection], Any]) -> list[Any]:
    """Results and errors of units of work that the writer finds waiting all at once."""
    gate = Gate()
    held = asyncio.create_task(database.transact(gate, bulk=True))
    await gate.reached()
    tasks = [asyncio.create_task(database.transact(work)) for work in works]
    await asyncio.sleep(0)
    gate.open()
    await held
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_waits_shares_a_commit(
    database: SqliteDatabase, commits: list[Connection]
) -> None:
    """Twenty units of work cost one fsync, and each gets its own result."""
    assert await together(database, *map(put, range(20))) == list(range(20))
    assert len(commits) == 2  # the gate's own, and theirs
    assert await database.read(numbers) == list(range(20))


async def test_a_fault_undoes_its_own_unit_only(
    database: SqliteDatabase, commits: list[Connection]
) -> None:
    """The others of its group are committed, still together."""
    first, fault, last = await together(database, put(1), fail, put(2))
    assert (first, last) == (1, 2)
    assert isinstance(fault, ValueError)
    assert len(commits) == 2
    assert await database.read(numbers) == [1, 2]


async def test_a_statement_that_fails_fails_alone(database: SqliteDatabase) -> None:
    """The group is undone and each unit is run again by itself: none is written twice."""
    first, repeated, last = await together(database, put(1), put(1), put(2))
    assert (first, last) == (1, 2)
    assert isinstance(repeated, IntegrityError)
    assert await database.read(numbers) == [1, 2]


async def test_a_unit_alone_that_fails_leaves_nothing(database: SqliteDatabase) -> None:
    """It is rolled back, and the next one works."""
    with pytest.raises(ValueError, match="at fault"):
        await database.transact(fail)
    assert await database.transact(put(1)) == 1
    assert await database.read(numbers) == [1]


async def test_who_stopped_waiting_disturbs_nobody(database: SqliteDatabase) -> None:
    """A cancelled unit may be written all the same; the others get their answers."""
    gate = Gate()
    held = asyncio.create_task(database.transact(gate, bulk=True))
    await gate.reached()
    gone = asyncio.create_task(database.transact(put(1)))
    stays = asyncio.create_task(database.transact(put(2)))
    await asyncio.sleep(0)
    gone.cancel()
    gate.open()
    assert await stays == 2
    await held
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_a_loop_that_has_ended_disturbs_nobody(database: SqliteDatabase) -> None:
    """The answer for it is dropped, and the writer goes on for the others."""
    gate = Gate()

    async def leave() -> None:
        task = asyncio.create_task(database.transact(gate, bulk=True))
        await gate.reached()
        task.cancel()

    await asyncio.to_thread(asyncio.run, leave())
    gate.open()
    assert await database.transact(put(1)) == 1


async def test_readers_are_not_hindered(database: SqliteDatabase) -> None:
    """While a transaction is open, a read shows what was committed before it."""
    await database.transact(put(1))
    gate = Gate()

    def slow(connection: Connection) -> None:
        put(2)(connection)
        gate(connection)

    held = asyncio.create_task(database.transact(slow, bulk=True))
    await gate.reached()
    assert await database.read(numbers) == [1]
    gate.open()
    await held
    assert await database.read(numbers) == [1, 2]


async def test_processes_take_turns(path: Path) -> None:
    """What one read under its lock is still so when it writes."""
    databases = [SqliteDatabase(path) for _ in range(4)]

    def count_up(connection: Connection) -> None:
        put(len(numbers(connection)))(connection)

    await asyncio.gather(
        *(database.transact(count_up) for database in databases for _ in range(10))
    )
    assert await databases[0].read(numbers) == list(range(40))
    for database in databases:
        await database.close()


async def test_a_file_locked_for_long_is_told_to_all_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One wait for the lock, however many wait behind it; afterwards it works again."""
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.05)
    database = SqliteDatabase(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with noting("begin") as begun:
        results = await asyncio.gather(
            *(database.transact(put(n)) for n in range(20)), return_exceptions=True
        )
    assert [type(result) for result in results] == [Unavailable] * 20
    assert "locked" in str(results[0])
    # The writer may have taken up the first before it found the others waiting.
    assert len(begun) <= 2
    other.close()
    assert await database.transact(put(7)) == 7
    assert await database.read(numbers) == [7]
    await database.close()


async def test_a_lock_met_half_way_through_a_group_is_told_to_the_rest(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Units that are run alone after their group failed do not each wait for the lock."""
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.05)
    database = SqliteDatabase(path)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    runs: list[int] = []

    def spoil(connection: Connection) -> None:
        # Fails with its group; run again alone it succeeds, and the file is locked after it.
        runs.append(1)
        if len(runs) == 1:
            connection.execute(text("nonsense"))
        connection.commit()
        other.execute("BEGIN IMMEDIATE")

    results = await together(database, spoil, put(1), put(2))
    assert [type(result) for result in results[1:]] == [Unavailable] * 2
    other.close()
    assert await database.transact(put(3)) == 3
    await database.close()


async def test_a_folder_that_is_not_there_is_an_outage(tmp_path: Path) -> None:
    """It may be a disk that is not mounted yet."""
    database = SqliteDatabase(tmp_path / "missing" / "some.db")
    with pytest.raises(Unavailable, match="unable to open database file"):
        await database.transact(put(1))
    with pytest.raises(Unavailable):
        await database.read(numbers)
    await database.close()


async def test_a_wrong_statement_is_no_outage(tmp_path: Path) -> None:
    """A fault of ours must not look like the database's: it would be tried for ever."""
    database = open_database(f"sqlite:///{tmp_path}/some.db")
    with pytest.raises((ProgrammingError, IntegrityError)):
        await database.transact(lambda connection: connection.execute(text("SELECT ?"), {}))
    await database.close()


async def test_what_waits_at_the_end_is_written(path: Path) -> None:
    """Closing refuses what is new, and finishes what it has."""
    database = SqliteDatabase(path)
    gate = Gate()
    held = asyncio.create_task(database.transact(gate, bulk=True))
    await gate.reached()
    waits = asyncio.create_task(database.transact(put(1)))
    await asyncio.sleep(0)
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    for late in (database.transact(put(2)), database.read(numbers)):
        with pytest.raises(Unavailable, match="closed"):
            await late
    gate.open()
    await asyncio.gather(held, waits, closing)
    await database.close()
    again = SqliteDatabase(path)
    assert await again.read(numbers) == [1]
    assert again.url == f"sqlite:///{path}"
    await again.close()


async def test_more_wait_than_a_group_holds(
    database: SqliteDatabase, commits: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are written in several commits, in the order they came."""
    monkeypatch.setattr(sqlite, "_GROUP", 4)
    assert await together(database, *map(put, range(10))) == list(range(10))
    assert len(commits) == 4


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("no url", "no database URL"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://localhost/x", "mysql"),
    ],
)
def test_a_url_that_is_none_names_the_variable(url: str, what: str) -> None:
    """One line that says which setting is wrong and what it should be."""
    with pytest.raises(ConfigurationError, match=what) as raised:
        open_database(url)
    assert "OUTDIAL_DATABASE_URL" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_new_file_is_logged_by_all_who_open_it_at_once(tmp_path: Path) -> None:
    """SQLite refuses all but one of those that change its journal: the others ask again."""
    path = tmp_path / "new.db"
    first = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    second = sqlite3.connect(path, isolation_level=None, timeout=0)
    first.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        second.execute("PRAGMA journal_mode=WAL")
    released = threading.Timer(0.05, first.rollback)
    released.start()
    sqlite._log_ahead(second)
    released.join()
    assert second.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    first.close()
    second.close()


_PASSING = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM rows").fetchone()[0])
connection.close()
"""


def counted_by_another(path: Path) -> int:
    """What a process that comes and goes finds in the table."""
    command = [sys.executable, "-c", _PASSING, str(path)]
    return int(subprocess.run(command, capture_output=True, check=True).stdout)


async def test_connections_keep_their_hold_on_the_file(
    database: SqliteDatabase, path: Path
) -> None:
    """A process that comes and goes does not take the log from under one that goes on writing."""
    log = path.with_name(f"{path.name}-wal")
    for number in (1, 2):
        await database.transact(put(number))
        await asyncio.gather(*(database.read(numbers) for _ in range(8)))
        assert await asyncio.to_thread(counted_by_another, path) == number
        assert log.exists()

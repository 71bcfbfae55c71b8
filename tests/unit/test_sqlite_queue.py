"""What the SQLite queue promises beyond the contract: faults told, pages reused, plans short."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

import outdial
from outdial.adapters.memory import MemoryQueue
from outdial.adapters.sqlite_queue import QueueFile, SQLiteQueue
from outdial.adapters.sqlite_queue.file import Work
from outdial.adapters.sqlite_queue.replies import LoopReply, ThreadReply, deliver
from outdial.adapters.sqlite_queue.store import (
    CHANGE_VISIBILITY,
    DELETE,
    NEXT_DUE,
    RECEIVE,
    Store,
)
from outdial.errors import Unavailable
from outdial.ports.queue import Outgoing


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[QueueFile]:
    """A queue file of its own."""
    made = QueueFile(tmp_path / "queue.db", patience=0.05)
    yield made
    made.close()


@pytest.fixture
def queue(file: QueueFile) -> SQLiteQueue:
    """The call queue in it."""
    return SQLiteQueue(file, "calls")


@pytest.mark.parametrize("statement", [RECEIVE, NEXT_DUE, DELETE, CHANGE_VISIBILITY])
async def test_never_scans(queue: SQLiteQueue, file: QueueFile, statement: str) -> None:
    """Every statement on the way of a message searches by an index and sorts nothing."""
    await queue.send([Outgoing("a")])
    with closing(sqlite3.connect(file.path)) as connection:
        plan = connection.execute(
            f"EXPLAIN QUERY PLAN {statement}", (1,) * statement.count("?")
        ).fetchall()
    steps = [step for *_, step in plan]
    assert any("SEARCH message" in step for step in steps), steps
    assert not any("SCAN message" in step or "TEMP B-TREE" in step for step in steps), steps


async def test_uses_deleted_pages_again(queue: SQLiteQueue, file: QueueFile) -> None:
    """Under a steady flow the file stops growing."""
    sizes = []
    for _ in range(30):
        await queue.send([Outgoing("x" * 500)] * 100)
        await queue.delete(await queue.receive(100))
        with closing(sqlite3.connect(file.path)) as connection:
            sizes.append(connection.execute("PRAGMA page_count").fetchone()[0])
    assert sizes[-1] <= sizes[4]


async def test_is_readable_by_its_owner_only(queue: SQLiteQueue, file: QueueFile) -> None:
    """Bodies hold phone numbers: no other user may read them."""
    await queue.send([Outgoing("a")])
    assert {each.stat().st_mode & 0o777 for each in file.path.parent.iterdir()} == {0o600}


async def test_keeps_messages_over_a_restart(queue: SQLiteQueue, file: QueueFile) -> None:
    """What was sent is there when the file is opened again."""
    await queue.send([Outgoing("a")])
    file.close()
    again = QueueFile(file.path)
    assert [each.body for each in await SQLiteQueue(again, "calls").receive()] == ["a"]
    again.close()


async def test_tells_of_a_missing_folder_and_recovers(tmp_path: Path) -> None:
    """Without its folder it is unavailable, and works as soon as there is one."""
    file = QueueFile(tmp_path / "gone" / "queue.db")
    queue = SQLiteQueue(file, "events")
    with pytest.raises(Unavailable, match=r"event queue unavailable: .*gone.*folder must exist"):
        await queue.send([Outgoing("a")])
    with pytest.raises(Unavailable):
        await queue.receive(wait=20)
    (tmp_path / "gone").mkdir()
    await queue.send([Outgoing("a")])
    file.close()


async def test_tells_of_a_file_that_is_no_queue(tmp_path: Path) -> None:
    """A file of another kind is named and left alone."""
    path = tmp_path / "queue.db"
    path.write_bytes(b"a spreadsheet, perhaps" * 100)
    file = QueueFile(path)
    with pytest.raises(Unavailable, match="is no queue file"):
        await SQLiteQueue(file, "calls").depth()
    assert path.read_bytes().startswith(b"a spreadsheet")
    file.close()


async def test_tells_of_a_file_of_another_version(queue: SQLiteQueue, file: QueueFile) -> None:
    """A layout that this program does not know is not touched."""
    with closing(sqlite3.connect(file.path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(Unavailable, match="its layout is 99"):
        await queue.receive()


async def test_tells_of_a_full_disk_and_recovers(queue: SQLiteQueue, file: QueueFile) -> None:
    """A full disk fails the send, wholly, and harms nothing."""
    reply = LoopReply()
    file.submit(Work(_allow_no_growth, reply, "call queue"))
    await reply.future
    with pytest.raises(Unavailable, match=r"disk that holds .* is full"):
        await queue.send([Outgoing("a"), Outgoing("x" * 500_000)])
    await queue.send([Outgoing("b")])
    assert [each.body for each in await queue.receive()] == ["b"]


def _allow_no_growth(store: Store, _: int) -> None:
    store._execute("PRAGMA max_page_count = 10")


async def test_tells_of_a_lock_and_recovers(queue: SQLiteQueue, file: QueueFile) -> None:
    """While another process keeps the file locked it is unavailable, and no longer."""
    await queue.send([Outgoing("a")])
    with closing(sqlite3.connect(file.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="another process keeps"):
            await queue.send([Outgoing("b")])
        other.execute("ROLLBACK")
    await queue.send([Outgoing("c")])
    assert sorted(each.body for each in await queue.receive()) == ["a", "c"]


async def test_waits_for_a_lock_that_is_short(tmp_path: Path) -> None:
    """A lock that is given up in time costs nothing but the wait."""
    file = QueueFile(tmp_path / "queue.db", patience=30)
    queue = SQLiteQueue(file, "calls")
    await queue.send([Outgoing("a")])
    with closing(sqlite3.connect(file.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        sending = asyncio.create_task(queue.send([Outgoing("b")]))
        await asyncio.sleep(0)
        other.execute("ROLLBACK")
    async with asyncio.timeout(5):
        await sending
    file.close()


async def test_sends_from_another_thread(queue: SQLiteQueue) -> None:
    """Code that is not asynchronous sends from a thread of its own and wakes a receive."""
    waiting = asyncio.create_task(queue.receive(wait=20))
    await asyncio.to_thread(queue.send_sync, [Outgoing("a")])
    async with asyncio.timeout(5):
        assert [each.body for each in await waiting] == ["a"]
    queue.send_sync([])


async def test_memory_sends_from_another_thread() -> None:
    """The memory queue does the same."""
    queue = MemoryQueue("calls")
    waiting = asyncio.create_task(queue.receive(wait=20))
    await asyncio.to_thread(queue.send_sync, [Outgoing("a")])
    async with asyncio.timeout(5):
        assert [each.body for each in await waiting] == ["a"]


async def test_tells_a_blocked_sender_what_went_wrong(tmp_path: Path) -> None:
    """A blocking send raises as the other one does."""
    file = QueueFile(tmp_path / "gone" / "queue.db")
    with pytest.raises(Unavailable):
        SQLiteQueue(file, "events").send_sync([Outgoing("a")])
    file.close()


async def test_gives_back_what_came_too_late(queue: SQLiteQueue) -> None:
    """Messages that a cancelled receive had already taken are visible again at once."""
    await queue.send([Outgoing("a")])
    receiving = asyncio.create_task(queue.receive(1))
    await asyncio.sleep(0)
    # Blocks this loop until a later commit: the receive is answered, its coroutine not yet awake.
    queue.send_sync([Outgoing("b")])
    receiving.cancel()
    received = await queue.receive(1, wait=5) + await queue.receive(1, wait=5)
    assert sorted((each.body, each.receive_count) for each in received) == [("a", 2), ("b", 1)]


async def test_drops_what_came_too_late_for_a_closed_file(
    queue: SQLiteQueue, file: QueueFile
) -> None:
    """With the file closed they come back by their visibility timeout instead."""
    await queue.send([Outgoing("a")])
    receiving = asyncio.create_task(queue.receive())
    await asyncio.sleep(0)
    file.close()
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)


async def test_ends_waits_and_refuses_work_once_closed(queue: SQLiteQueue, file: QueueFile) -> None:
    """Closing the file answers waiting receives, empty; what is asked later is refused."""
    waiting = asyncio.create_task(queue.receive(wait=20))
    await asyncio.sleep(0)
    file.close()
    file.close()
    async with asyncio.timeout(5):
        assert await waiting == []
    with pytest.raises(Unavailable, match="was closed"):
        await queue.send([Outgoing("a")])


async def test_leaves_the_other_queue_alone_when_one_is_closed(file: QueueFile) -> None:
    """Closing one queue of a file ends its own waits only."""
    calls, events = SQLiteQueue(file, "calls"), SQLiteQueue(file, "events")
    waiting = asyncio.create_task(events.receive(wait=20))
    ending = asyncio.create_task(calls.receive(wait=20))
    await asyncio.sleep(0)
    await calls.close()
    async with asyncio.timeout(5):
        assert await ending == []
        await events.send([Outgoing("a")])
        assert len(await waiting) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_fails_its_callers_when_its_writer_ends(queue: SQLiteQueue, file: QueueFile) -> None:
    """A fault in the writer itself is an error for everybody, not an endless wait."""

    def fault(_: Store, __: int) -> None:
        raise AssertionError

    waiting = asyncio.create_task(queue.receive(wait=20))
    await asyncio.sleep(0)
    file.submit(Work(fault, ThreadReply(), "call queue"))
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable, match="its writer ended"):
            await waiting
        with pytest.raises(Unavailable, match="was closed"):
            await queue.depth()


async def test_outlives_a_loop_that_is_closed() -> None:
    """An answer for a loop that has ended is dropped."""
    replies: list[LoopReply] = []

    async def ask() -> None:
        replies.append(LoopReply())

    thread = threading.Thread(target=asyncio.run, args=(ask(),))
    thread.start()
    thread.join()
    deliver([(replies[0], [])])


SENDER = """
import asyncio, pathlib, sys
from outdial.adapters.sqlite_queue import QueueFile, SQLiteQueue
from outdial.ports.queue import Outgoing
file = QueueFile(pathlib.Path(sys.argv[1]))
for line in sys.stdin:
    SQLiteQueue(file, "calls").send_sync([Outgoing(line.strip())])
file.close()
"""


async def test_is_woken_by_another_process(queue: SQLiteQueue, file: QueueFile) -> None:
    """A receive that waits gets what another process sends."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SENDER, str(file.path), stdin=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None
    for body in ("a", "b"):
        waiting = asyncio.create_task(queue.receive(wait=20))
        await asyncio.sleep(0)
        child.stdin.write(f"{body}\n".encode())
        async with asyncio.timeout(20):
            assert [each.body for each in await waiting] == [body]
    child.stdin.close()
    assert await child.wait() == 0


def test_needs_the_standard_library_only() -> None:
    """The webhook entry may use the queue: nothing outside the standard library is loaded."""
    program = (
        "import sys, outdial.adapters.sqlite_queue, outdial.adapters.folder_parking\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*loaded - sys.stdlib_module_names - {'__main__'})"
    )
    source = str(Path(outdial.__file__).parents[1])
    loaded = subprocess.check_output(
        [sys.executable, "-S", "-c", program], text=True, env={"PYTHONPATH": source}
    )
    assert loaded.split() == ["outdial"]

"""The one thread of a process that reads and writes a queue file.

Work from all callers that came while the last commit was on its way goes into the next one: under
load a commit, and with it the disk's flush, is shared by hundreds of operations.
"""

import math
import queue
import random
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outdial.adapters.sqlite_queue.faults import explain, is_busy
from outdial.adapters.sqlite_queue.replies import LoopReply, Reply, deliver
from outdial.adapters.sqlite_queue.store import Receive, Store
from outdial.errors import Unavailable
from outdial.ports.queue import Received

#: Seconds between two looks for what other processes sent: short while they do, long when quiet.
_LOOKS = (0.005, 0.2)


@dataclass(slots=True)
class Work:
    """One step to run inside the next commit."""

    run: Callable[[Store, int], Any]
    reply: Reply
    dependency: str


@dataclass(slots=True, eq=False)
class Waiter:
    """A receive that is answered when something is due, or empty when its time is over."""

    ask: Receive
    limit: int
    reply: LoopReply
    dependency: str
    until: float
    owner: object


@dataclass(slots=True)
class _Leave:
    """`owner` closes: its waiters are answered now. None: all of them, and the thread ends."""

    owner: object | None


def wall_clock() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class QueueFile:
    """A queue file, shared by all queues of this process that lie in it.

    Opened by the first operation, so that making one can't fail. Other processes may use the same
    file; they notice each other's messages within a quarter of a second.
    """

    def __init__(
        self, path: Path, clock: Callable[[], int] = wall_clock, patience: float = 5.0
    ) -> None:
        """`path`: the file; its folder must exist. `clock`: milliseconds since the epoch.

        `patience`: seconds that another process may keep the file locked.
        """
        self.path = path
        self.clock = clock
        self._patience = patience
        self._inbox: queue.SimpleQueue[Work | Waiter | _Leave] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        # All below belongs to the thread.
        self._store: Store | None = None
        self._work: list[Work] = []
        self._waiters: list[Waiter] = []
        self._due = math.inf
        self._look = _LOOKS[0]

    def submit(self, item: Work | Waiter) -> None:
        """Put work before the thread. Never blocks; raises `Unavailable` once closed."""
        with self._lock:
            if self._closed:
                raise Unavailable(item.dependency, f"{self.path} was closed")
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._serve, name=f"queue file {self.path.name}", daemon=True
                )
                self._thread.start()
            self._inbox.put(item)

    def leave(self, owner: object) -> None:
        """Answer the waiting receives of `owner`, empty."""
        self._inbox.put(_Leave(owner))

    def close(self) -> None:
        """Finish what was submitted and end the thread; blocks for that last commit."""
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
            self._inbox.put(_Leave(None))
        if thread is not None:
            thread.join()

    def _serve(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            # Reached with work in hand only where the program itself is at fault: better an error
            # than callers that wait for ever.
            with self._lock:
                self._closed = True
                self._inbox.put(_Leave(None))
            self._take_in()
            self._drop()
            self._fail("its writer ended")

    def _turn(self) -> bool:
        """One commit, if there is anything to do; False at the end."""
        left = self._take_in()
        if self._work or self._waiters:
            self._commit()
        closing = None in left
        self._dismiss(lambda waiter: closing or waiter.owner in left)
        return not closing

    def _take_in(self) -> list[object | None]:
        """Sort what was submitted; returns the owners that leave."""
        left: list[object | None] = []
        for item in self._take():
            if isinstance(item, Work):
                self._work.append(item)
            elif isinstance(item, Waiter):
                self._waiters.append(item)
            else:
                left.append(item.owner)
        return left

    def _take(self) -> list[Work | Waiter | _Leave]:
        """Wait for work, or until it is time to look again; then everything there is."""
        items: list[Work | Waiter | _Leave] = []
        with suppress(queue.Empty):
            items.append(self._inbox.get(timeout=self._pause()))
            while True:
                items.append(self._inbox.get_nowait())
        return items

    def _pause(self) -> float | None:
        """Seconds until the next look; None: until somebody asks."""
        if not self._waiters:
            return None
        patience = min(each.until for each in self._waiters) - time.monotonic()
        return max(0.0, min(self._look, patience, (self._due - self.clock()) / 1000))

    def _commit(self) -> None:
        """Do the work in hand and serve the waiters; answer after the commit."""
        give_up = time.monotonic() + self._patience
        while True:
            try:
                answers = self._attempt()
            except (sqlite3.Error, OSError) as error:
                if not is_busy(error):
                    self._drop()
                elif time.monotonic() < give_up:
                    # Shorter than SQLite's own waits: a commit takes a millisecond, and who
                    # sleeps through ten of them starves.
                    time.sleep(random.uniform(0.0003, 0.003))  # noqa: S311
                    continue
                self._fail(explain(error, self.path))
                return
            break
        deliver(answers)
        now = time.monotonic()
        self._dismiss(lambda waiter: waiter.until <= now)

    def _attempt(self) -> list[tuple[Reply, object]]:
        if self._store is None:
            self._store = Store(self.path)
        store, now = self._store, self.clock()
        self._waiters = [each for each in self._waiters if not each.reply.abandoned]
        waiting, due = self._waiters, self._next_due(store, self._waiters)
        answers: list[tuple[Reply, object]] = []
        if self._work or due <= now:
            with store.transaction():
                answers += [(each.reply, each.run(store, now)) for each in self._work]
                served = dict(self._hand_out(store, now))
                answers += [(each.reply, messages) for each, messages in served.items()]
                waiting = [each for each in waiting if each not in served]
                due = self._next_due(store, waiting)
        # Nothing is forgotten before the commit, so that a failed one can be answered for; and
        # nothing below can fail, so that no commit is made twice.
        if len(waiting) < len(self._waiters):
            self._look = _LOOKS[0]
        elif not self._work:
            self._look = min(self._look * 1.5, _LOOKS[1])
        self._work, self._waiters, self._due = [], waiting, due
        return answers

    def _hand_out(self, store: Store, now: int) -> Iterator[tuple[Waiter, list[Received]]]:
        """What each waiter gets; receives that ask alike are one statement."""
        alike: dict[Receive, list[Waiter]] = defaultdict(list)
        for waiter in self._waiters:
            alike[waiter.ask].append(waiter)
        for ask, waiters in alike.items():
            messages = store.receive(ask, sum(each.limit for each in waiters), now)
            for waiter in waiters:
                if not messages:
                    break
                yield waiter, messages[: waiter.limit]
                del messages[: waiter.limit]

    @staticmethod
    def _next_due(store: Store, waiters: Iterable[Waiter]) -> float:
        """When the next message that somebody waits for is or was visible."""
        dues = [store.next_due(name) for name in {each.ask.queue for each in waiters}]
        return min((due for due in dues if due is not None), default=math.inf)

    def _dismiss(self, over: Callable[[Waiter], bool]) -> None:
        """Answer the waiters that are `over`, empty."""
        leaving = [each for each in self._waiters if over(each)]
        if leaving:
            self._waiters = [each for each in self._waiters if not over(each)]
            deliver((each.reply, []) for each in leaving)

    def _fail(self, detail: str) -> None:
        """Answer all work and all waiters with what went wrong."""
        failed: list[Work | Waiter] = [*self._work, *self._waiters]
        self._work.clear()
        self._waiters.clear()
        deliver((each.reply, Unavailable(each.dependency, detail)) for each in failed)

    def _drop(self) -> None:
        """Close the connection: the next attempt opens the file anew, mended or not."""
        if self._store is not None:
            self._store.close()
            self._store = None

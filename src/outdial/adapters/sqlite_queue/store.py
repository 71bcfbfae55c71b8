"""The tables of a queue file, and each step on them, inside the caller's transaction."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from outdial.ports.queue import DeadLetter, Depth, Outgoing, Received

_VERSION = 1

# `message` is updated in place by a receive; its integers keep their width then (a count of 0 and
# of 1 take no byte), so that SQLite leaves the pages of a large body alone. AUTOINCREMENT: an id
# is never used twice, which is what makes a receipt of id and count unmistakable.
_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS message (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue TEXT NOT NULL,
        visible_at INTEGER NOT NULL,
        receive_count INTEGER NOT NULL DEFAULT 0,
        sent_at INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX IF NOT EXISTS message_due ON message (queue, visible_at, receive_count)",
    """
    CREATE TABLE IF NOT EXISTS dead_letter (
        id INTEGER PRIMARY KEY,
        queue TEXT NOT NULL,
        dead_at INTEGER NOT NULL,
        stage TEXT NOT NULL,
        reason TEXT NOT NULL,
        receive_count INTEGER NOT NULL,
        sent_at INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX IF NOT EXISTS dead_letter_oldest ON dead_letter (queue, dead_at)",
    f"PRAGMA user_version = {_VERSION}",
)

SEND = "INSERT INTO message (queue, visible_at, sent_at, body) VALUES (?, ?, ?, ?)"
RECEIVE = """
UPDATE message SET visible_at = ?, receive_count = receive_count + 1
WHERE id IN (
    SELECT id FROM message WHERE queue = ? AND visible_at <= ? ORDER BY visible_at LIMIT ?
)
RETURNING id, receive_count, sent_at, body
"""
NEXT_DUE = "SELECT min(visible_at) FROM message WHERE queue = ?"
DELETE = "DELETE FROM message WHERE id = ? AND receive_count = ? AND queue = ?"
CHANGE_VISIBILITY = (
    "UPDATE message SET visible_at = ? WHERE id = ? AND receive_count = ? AND queue = ?"
)
_BURY = """
INSERT INTO dead_letter (id, queue, dead_at, stage, reason, receive_count, sent_at, body)
SELECT id, queue, ?, ?, ?, ?, sent_at, body
FROM message WHERE id = ? AND receive_count = ? AND queue = ?
"""
_DEAD_LETTERS = """
SELECT id, body, reason, stage, receive_count, sent_at, dead_at
FROM dead_letter WHERE queue = ? ORDER BY dead_at, id LIMIT ?
"""
_REDRIVE_ALL = """
INSERT INTO message (queue, visible_at, sent_at, body)
SELECT queue, ?, ?, body FROM dead_letter WHERE queue = ? ORDER BY dead_at, id
"""
_REDRIVE_ONE = """
INSERT INTO message (queue, visible_at, sent_at, body)
SELECT queue, ?, ?, body FROM dead_letter WHERE id = ? AND queue = ?
"""
_DEPTH = """
SELECT
    count(*) FILTER (WHERE visible_at <= ?1),
    count(*) FILTER (WHERE visible_at > ?1 AND receive_count > 0),
    count(*) FILTER (WHERE visible_at > ?1 AND receive_count = 0),
    (SELECT count(*) FROM dead_letter WHERE queue = ?2)
FROM message WHERE queue = ?2
"""


@dataclass(frozen=True, slots=True)
class Receive:
    """What receives of one kind have in common. `visibility` in ms."""

    queue: str
    visibility: int
    max_receives: int


class Store:
    """A queue file's contents through one connection. Times in ms.

    Every method raises `sqlite3.Error`, `OSError` as well the opening.
    """

    def __init__(self, path: Path) -> None:
        """Open the file at `path`, made if there is none, readable by its owner only."""
        # Nobody waits inside SQLite: its pauses are too long for commits of a millisecond.
        self._connection = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False
        )
        if path.stat().st_size == 0:
            # Not by opening it: closing a file drops every lock that this process has on it.
            path.chmod(0o600)
        self._execute = self._connection.execute
        self._execute_many = self._connection.executemany
        try:
            self._prepare()
        except sqlite3.Error:
            self.close()
            raise

    def _prepare(self) -> None:
        self._execute("PRAGMA journal_mode = WAL")
        self._execute("PRAGMA synchronous = FULL")
        # After a burst the log is cut back; pages of deleted messages are used again.
        self._execute("PRAGMA journal_size_limit = 16777216")
        (version,) = self._execute("PRAGMA user_version").fetchone()
        if version == 0:
            with self.transaction():
                for statement in _SCHEMA:
                    self._execute(statement)
        elif version != _VERSION:
            raise sqlite3.NotSupportedError(f"its layout is {version}, not {_VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One commit, or nothing. Takes the write lock at once; raises where it is taken."""
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
            self._execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._execute("ROLLBACK")

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def send(self, queue: str, messages: Iterable[Outgoing], now: int) -> None:
        """Append `messages`, each visible after its delay."""
        self._execute_many(
            SEND, [(queue, now + 1000 * each.delay_seconds, now, each.body) for each in messages]
        )

    def receive(self, ask: Receive, limit: int, now: int) -> list[Received]:
        """Take what is due, oldest due first; bury what was received too often."""
        while True:
            rows = self._execute(RECEIVE, (now + ask.visibility, ask.queue, now, limit)).fetchall()
            received = []
            for id_, count, sent_at, body in sorted(rows):
                if count > ask.max_receives:
                    reason = f"received {ask.max_receives} times without an end"
                    self._bury((id_, count, ask.queue), reason, "queue", count - 1, now)
                else:
                    received.append(Received(str(id_), body, f"{id_}.{count}", count, sent_at))
            if received or not rows:
                return received

    def next_due(self, queue: str) -> int | None:
        """When the next message of `queue` is or was visible; None for an empty queue."""
        due: int | None = self._execute(NEXT_DUE, (queue,)).fetchone()[0]
        return due

    def delete(self, queue: str, messages: Iterable[Received]) -> None:
        """Remove the messages whose receipts hold."""
        self._execute_many(DELETE, [(*key, queue) for key in _keys(messages)])

    def change_visibility(self, queue: str, messages: Iterable[Received], visible_at: int) -> None:
        """Set when the messages whose receipts hold are visible again."""
        self._execute_many(
            CHANGE_VISIBILITY, [(visible_at, *key, queue) for key in _keys(messages)]
        )

    def dead_letter(self, queue: str, message: Received, reason: str, stage: str, now: int) -> None:
        """Move one message, if its receipt holds."""
        for id_, count in _keys([message]):
            self._bury((id_, count, queue), reason, stage, count, now)

    def _bury(
        self, key: tuple[int, int, str], reason: str, stage: str, receive_count: int, now: int
    ) -> None:
        self._execute(_BURY, (now, stage, reason, receive_count, *key))
        self._execute(DELETE, key)

    def dead_letters(self, queue: str, limit: int) -> list[DeadLetter]:
        """The oldest dead letters."""
        return [
            DeadLetter(str(id_), *rest)
            for id_, *rest in self._execute(_DEAD_LETTERS, (queue, limit))
        ]

    def redrive(self, queue: str, ids: Sequence[str] | None, now: int) -> int:
        """Send dead letters back as new messages; how many."""
        if ids is None:
            sent = self._execute(_REDRIVE_ALL, (now, now, queue)).rowcount
            self._execute("DELETE FROM dead_letter WHERE queue = ?", (queue,))
            return sent
        sent = 0
        for id_ in ids:
            if _is_id(id_):
                sent += self._execute(_REDRIVE_ONE, (now, now, int(id_), queue)).rowcount
                self._execute(
                    "DELETE FROM dead_letter WHERE id = ? AND queue = ?", (int(id_), queue)
                )
        return sent

    def depth(self, queue: str, now: int) -> Depth:
        """Count; reads one index from end to end."""
        return Depth(*self._execute(_DEPTH, (now, queue)).fetchone())


def _keys(messages: Iterable[Received]) -> list[tuple[int, int]]:
    """Id and receive count of each receipt that could be one of ours."""
    keys = []
    for message in messages:
        id_, _, count = message.receipt.partition(".")
        if _is_id(id_) and _is_id(count):
            keys.append((int(id_), int(count)))
    return keys


def _is_id(text: str) -> bool:
    """Whether it is a number that SQLite can hold."""
    return text.isdecimal() and len(text) <= 18

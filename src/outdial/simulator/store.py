"""What a restart must not forget: calls, keys, webhooks still to send, faults and counts.

SQLite in the simulator's home. Writes are grouped: everything asked for within a few milliseconds
is one commit, and a create is answered after its commit. A webhook's end is written with the next
group; should the process die before that, the webhook is sent once more, as Retell does too.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson

from outdial.simulator.calls import COLUMNS, Call

_GROUP_S = 0.003
_LAZY_S = 0.1
_INDEXED_LENGTH = 200
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS calls ({", ".join(COLUMNS)}, PRIMARY KEY (seq));
CREATE UNIQUE INDEX IF NOT EXISTS calls_by_id ON calls (call_id);
CREATE INDEX IF NOT EXISTS calls_by_key ON calls (idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS calls_by_number ON calls (to_number, dial);
CREATE INDEX IF NOT EXISTS calls_by_sort ON calls (sort_at, seq);
CREATE INDEX IF NOT EXISTS calls_open ON calls (seq) WHERE open;
CREATE TABLE IF NOT EXISTS metadata_values (
    name TEXT NOT NULL, value TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (name, value, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""
# No declared types: SQLite keeps what it is given, blobs as bytes and text as text.
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM calls"  # noqa: S608 - our own columns
_HOLES = ", ".join("?" * len(COLUMNS))
_INSERT = f"INSERT INTO calls VALUES ({_HOLES})"  # noqa: S608 - likewise
_CHANGING = ("metadata", "extras", "outcome", "final_status", "reason", "plot", "talk_ms",
             "start_at", "end_at", "analyzed_at", "analyses", "settled", "open",
             "deleted")  # fmt: skip
_SET = ", ".join(f"{name} = ?" for name in _CHANGING)
_UPDATE = f"UPDATE calls SET {_SET} WHERE call_id = ?"  # noqa: S608 - likewise
_row = attrgetter(*COLUMNS)
_changes = attrgetter(*_CHANGING, "call_id")


class Store:
    """Calls on disk. Belongs to one event loop; reading sees what was committed."""

    def __init__(self, home: Path) -> None:
        """Open or make `home/simulator.db`."""
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = home / "simulator.db"
        self._db = sqlite3.connect(path, isolation_level=None)
        if path.stat().st_size == 0:
            # It has numbers and transcripts, too: for its owner only.
            path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing; only the machine's own end could lose the last commits.
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA wal_autocheckpoint = 4000")
        self._db.executescript(_SCHEMA)
        self._fresh: list[Call] = []
        self._changed: dict[str, Call] = {}
        self._reindexed: list[Call] = []
        self._notes: dict[str, bytes] = {}
        self._counted = False
        self._group: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        highest = self._db.execute("SELECT max(seq) FROM calls").fetchone()[0]
        self._last_seq: int = highest or 0
        self.counts = Counter[str](self.noted("counts"))

    def close(self) -> None:
        """Write what waits, and close."""
        self._flush()
        self._db.close()

    # Writing

    def next_seq(self) -> int:
        """The place of a new call in the order of placing."""
        self._last_seq += 1
        return self._last_seq

    def insert(self, call: Call) -> asyncio.Future[None]:
        """Keep a new call; the future ends with its commit."""
        self._fresh.append(call)
        return self._soon()

    def update(self, call: Call, *, metadata: bool = False) -> asyncio.Future[None]:
        """Keep a call's changes, with the next group; the future ends with its commit."""
        self._changed[call.call_id] = call
        if metadata:
            self._reindexed.append(call)
        return self._soon()

    def update_lazily(self, call: Call) -> None:
        """Keep a call's changes when something else is written, at the latest soon after."""
        self._changed[call.call_id] = call
        self._later()

    def note(self, name: str, body: dict[str, Any]) -> None:
        """Keep a small named document, lazily."""
        self._notes[name] = orjson.dumps(body)
        self._later()

    def count(self, name: str) -> None:
        """Count one more of something in `counts`, kept lazily."""
        self.counts[name] += 1
        self._counted = True
        self._later()

    def clear(self) -> None:
        """Forget everything."""
        self._flush()
        self._db.executescript("DELETE FROM calls; DELETE FROM metadata_values; DELETE FROM notes")
        self._last_seq = 0
        self.counts.clear()

    def _soon(self) -> asyncio.Future[None]:
        if self._group is None:
            loop = asyncio.get_running_loop()
            self._group = loop.create_future()
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(_GROUP_S, self._flush)
        return self._group

    def _later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LAZY_S, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        group, self._group = self._group, None
        fresh, self._fresh = self._fresh, []
        changed, self._changed = self._changed, {}
        reindexed, self._reindexed = self._reindexed, []
        notes, self._notes = self._notes, {}
        if self._counted:
            self._counted = False
            notes["counts"] = orjson.dumps(self.counts)
        if not (fresh or changed or notes):
            return
        try:
            self._write(fresh, changed.values(), reindexed, notes)
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if group is None:
                raise
            group.set_exception(error)
            return
        if group is not None and not group.done():
            group.set_result(None)

    def _write(
        self,
        fresh: list[Call],
        changed: Iterable[Call],
        reindexed: list[Call],
        notes: dict[str, bytes],
    ) -> None:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        db.executemany(_INSERT, map(_row, fresh))
        db.executemany(_UPDATE, map(_changes, changed))
        if reindexed:
            db.executemany("DELETE FROM metadata_values WHERE seq = ?",
                           [(call.seq,) for call in reindexed])  # fmt: skip
        entries = [entry for call in (*fresh, *reindexed) for entry in _index(call)]
        db.executemany("INSERT OR IGNORE INTO metadata_values VALUES (?, ?, ?)", entries)
        if notes:
            db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", notes.items())
        db.execute("COMMIT")

    # Reading

    def get(self, call_id: str) -> Call | None:
        """The call of that id, with what is not written yet."""
        return self._changed.get(call_id) or self._one("WHERE call_id = ?", call_id)

    def by_key(self, key: str, since_ms: int) -> Call | None:
        """The latest call placed with that idempotency key since then."""
        return self._one(
            "WHERE idempotency_key = ? AND created_at > ? ORDER BY seq DESC LIMIT 1", key, since_ms
        )

    def dials(self, to_number: str) -> int:
        """How often that number rang."""
        found = self._db.execute(
            "SELECT max(dial) FROM calls WHERE to_number = ?", (to_number,)
        ).fetchone()[0]
        return 0 if found is None else found + 1

    def open_calls(self) -> list[Call]:
        """Calls with something still to come."""
        return self.select("WHERE open ORDER BY seq")

    def select(self, where: str, *values: object) -> list[Call]:
        """Calls by an SQL condition of our own making, values apart."""
        return [Call(*row) for row in self._db.execute(f"{_SELECT} {where}", values)]

    def totals(self, now_ms: int) -> dict[str, int]:
        """Calls placed; of them those that rang, that are over, and that were analysed."""
        row = self._db.execute(
            "SELECT count(*), total(rang), total(end_at <= ?), total(analyzed_at <= ? AND "
            "NOT instr(CAST(extras AS TEXT), '\"analysis\":false')) FROM calls",
            (now_ms, now_ms),
        ).fetchone()
        return dict(zip(("dials", "rang", "ended", "analyzed"), map(int, row), strict=True))

    def noted(self, name: str) -> dict[str, Any]:
        """A small named document, empty if there is none."""
        row = self._db.execute("SELECT body FROM notes WHERE name = ?", (name,)).fetchone()
        return orjson.loads(row[0]) if row else {}

    def _one(self, where: str, *values: object) -> Call | None:
        row = self._db.execute(f"{_SELECT} {where}", values).fetchone()
        return Call(*row) if row else None


def index_value(value: object) -> str | None:
    """How a metadata value stands in the index; None for what is not looked up there."""
    if isinstance(value, str):
        return value if len(value) <= _INDEXED_LENGTH else None
    if isinstance(value, bool | int | float):
        return orjson.dumps(value).decode()
    return None


def _index(call: Call) -> Iterable[tuple[str, str, int]]:
    if call.metadata is None:
        return
    for name, value in orjson.loads(call.metadata).items():
        indexed = index_value(value)
        if indexed is not None:
            yield name, indexed, call.seq

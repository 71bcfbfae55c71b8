"""What was in the file before, kept beside memory: a file may have millions of rows."""

import hashlib
import sqlite3
from typing import Self

import orjson

#: Pages of 4 KiB kept in memory; the rest of a large file's rows lies in a temporary file.
_CACHE_PAGES = 4_096


class Seen:
    """Things by their hash, each with the row that was first, and how often it came."""

    def __init__(self) -> None:
        """Nothing was seen."""
        # An empty name is SQLite's temporary database: in memory while small, on disk when not.
        self._seen = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._seen.execute(f"PRAGMA cache_size = {_CACHE_PAGES}")
        self._seen.execute(
            "CREATE TABLE seen (what BLOB PRIMARY KEY, row INTEGER, times INTEGER) WITHOUT ROWID"
        )
        # One transaction without an end: there is nothing here to be made durable.
        self._seen.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._seen.close()

    def add(self, what: object, row: int) -> int:
        """How often it came so far, this time included."""
        found = self._seen.execute(
            "INSERT INTO seen VALUES (?, ?, 1) "
            "ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times",
            (hashed(what)[:16], row),
        ).fetchone()
        return int(found[0])

    def first(self, what: object) -> int | None:
        """The row that was first, if any."""
        found = self._seen.execute(
            "SELECT row FROM seen WHERE what = ?", (hashed(what)[:16],)
        ).fetchone()
        return None if found is None else int(found[0])


def hashed(what: object) -> bytes:
    """SHA-256 of a JSON value; the order of an object's keys makes no other value."""
    return hashlib.sha256(orjson.dumps(what, option=orjson.OPT_SORT_KEYS)).digest()

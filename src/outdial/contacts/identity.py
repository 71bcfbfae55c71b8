"""Which call a row asks for, so that asking again places nothing twice.

The idempotency key of a row is a hash of what makes it *this* call: the campaign, the number and
the caller's own reference (`external_id`), or the columns chosen with `--key`. Not the file's
name, the row's number or the other cells: a file that is sorted, extended or corrected asks for
the same calls. The Voice API keeps keys for 30 days, each tenant's apart.
"""

import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Self

import orjson

from outdial.contacts.columns import FIELDS, METADATA, VARIABLE, variable_name
from outdial.contacts.errors import UnusableRowError

_PREFIX = "import-"
#: Pages of 4 KiB kept in memory; the rest of a large file's rows lies in a temporary file.
_CACHE_PAGES = 4_096


class Identity:
    """Gives rows their keys and knows which persons were in the file before."""

    def __init__(self, key: Sequence[str] = (), *, allow_duplicates: bool = False) -> None:
        """`key`: names of fields, variables (`variable.x`) or metadata (`metadata.x`)."""
        self._key = tuple(key)
        self._allow_duplicates = allow_duplicates
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

    def key_of(self, request: Mapping[str, Any], row: int) -> tuple[str, int | None]:
        """The row's idempotency key, and the earlier row that asks for the same person, if any.

        Without `--key` a person is a number within a campaign, whatever the reference.
        """
        campaign = request.get("campaign")
        if self._key:
            parts = [campaign, *(value_of(request, name) for name in self._key)]
            if not any(parts[1:]):
                raise UnusableRowError(f"{' and '.join(self._key)} empty: no key for this row")
            person = parts
        else:
            parts = [campaign, request.get("to_number"), request.get("external_id")]
            person = parts[:2]
        if self._allow_duplicates:
            # The second row of the same person is a call of its own, in each import of the file.
            times = self._count(parts, row)[1]
            return _digest([*parts, times] if times > 1 else parts), None
        first = self._count(person, row)[0]
        return _digest(parts), first if first != row else None

    def _count(self, what: Sequence[Any], row: int) -> tuple[int, int]:
        found = self._seen.execute(
            "INSERT INTO seen VALUES (?, ?, 1) "
            "ON CONFLICT DO UPDATE SET times = times + 1 RETURNING row, times",
            (_hash(what).digest()[:16], row),
        ).fetchone()
        return int(found[0]), int(found[1])


def value_of(request: Mapping[str, Any], name: str) -> str | None:
    """The value of a field, variable or metadata key of a request; None where it has none."""
    variables = request.get("dynamic_variables") or {}
    if name in FIELDS:
        value = request.get(name)
    elif name.startswith(METADATA):
        value = (request.get("metadata") or {}).get(name.removeprefix(METADATA))
    else:
        bare = name.removeprefix(VARIABLE)
        value = variables.get(bare, variables.get(variable_name(bare)))
    return None if value in {None, ""} else str(value)


def _digest(parts: Sequence[Any]) -> str:
    return _PREFIX + _hash(parts).hexdigest()[:40]


def _hash(parts: Sequence[Any]) -> "hashlib._Hash":
    return hashlib.sha256(orjson.dumps(list(parts)))

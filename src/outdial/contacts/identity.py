"""Which call a row asks for, so that asking again places nothing twice.

The idempotency key of a row is a hash of what makes it *this* call: the campaign and the number,
or the campaign and the columns chosen with `--key`. Not the file's name, the row's number or the
other cells: a file that is sorted, extended or corrected asks for the same calls, and of several
rows for one person whichever comes first is called, in this import or an earlier one. A row with
an `idempotency_key` of its own is known by that alone. The Voice API keeps keys for 30 days, each
tenant's apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from outdial.contacts.columns import FIELDS, METADATA, NUMBER, VARIABLE, variable_name
from outdial.contacts.errors import UnusableRowError
from outdial.contacts.seen import Seen, hashed

_PREFIX = "import-"
KEY = "idempotency_key"
PERSON = "person"


@dataclass(frozen=True, slots=True)
class Known:
    """What a row is known by.

    `key`: its idempotency key. `other_key`: the one to place it with where `key` stands for a call
    with other details; only with `--allow-duplicates`. `by`: what `key` says is the same, in words.
    """

    key: Any
    by: str = PERSON
    other_key: str | None = None


class Identity:
    """Gives rows their keys."""

    def __init__(self, key: Sequence[str] = (), *, allow_duplicates: bool = False) -> None:
        """`key`: names of fields, variables (`variable.x`) or metadata (`metadata.x`)."""
        self._key = tuple(key) or (NUMBER,)
        self._by = " and ".join(key) or PERSON
        self._allow_duplicates = allow_duplicates
        self._seen = Seen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._seen.__exit__()

    def of(self, request: Mapping[str, Any], row: int) -> Known:
        """What the row is known by. Raises `UnusableRowError` where its `--key` is empty."""
        if request.get(KEY) is not None:
            return Known(request[KEY], KEY)
        who = [request.get("campaign"), *(value_of(request, name) for name in self._key)]
        if not any(who[1:]):
            raise UnusableRowError(f"{self._by} empty: no key for this row")
        if not self._allow_duplicates:
            return Known(_digest(who), self._by)
        # All that a row says tells it from another of the same person, wherever they stand; rows
        # that say the same are told apart by counting.
        said = {name: value for name, value in request.items() if name != KEY}
        times = self._seen.add([who, said], row)
        own = _digest([*who, said, times])
        return Known(own if times > 1 else _digest(who), self._by, own if times == 1 else None)


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
    return None if value is None or value == "" else str(value)


def _digest(parts: Sequence[Any]) -> str:
    return _PREFIX + hashed(list(parts)).hex()[:40]

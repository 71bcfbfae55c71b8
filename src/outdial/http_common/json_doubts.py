"""What a fast JSON reader passes over: keys that are there twice, integers beyond 64 bits.

The body is read a second time by the standard library (measured: 4 to 7 microseconds for a usual
call); only a body in doubt is read a third time, to say where.
"""

import json
from collections.abc import Iterator

from outdial.http_common.problems import Fault, pointer_to

#: No number of fewer characters is beyond 64 bits.
_SHORT = 18

_Path = tuple[int | str, ...]


class _DoubtError(Exception):
    """Worth a closer look."""


class _Pairs(list[tuple[str, object]]):
    """The members of an object, all of them."""


class _Wide:
    """An integer that does not fit 64 bits."""


def doubts_in(body: bytes) -> list[Fault]:
    """Every such fault in a valid JSON text, each with its pointer."""
    text = body.decode()
    try:
        _QUICK.decode(text)
    except _DoubtError:
        return list(_faults(_WHOLE.decode(text), ()))
    except RecursionError:
        # Whatever is nested that deep is refused for that.
        return []
    return []


def _unique(pairs: list[tuple[str, object]]) -> None:
    if len(pairs) > 1 and len(dict(pairs)) < len(pairs):
        raise _DoubtError


def _short(text: str) -> None:
    if len(text) > _SHORT:
        raise _DoubtError


def _whole(text: str) -> object:
    # Python refuses to convert thousands of digits.
    return int(text) if len(text) <= 20 and -(2**63) <= int(text) < 2**64 else _Wide()


_QUICK = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_short)
_WHOLE = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=_whole)


def _faults(value: object, path: _Path) -> Iterator[Fault]:
    if isinstance(value, _Wide):
        detail = "must be an integer of at most 64 bits; send longer ones as text"
        yield Fault(pointer_to(path), detail)
    elif isinstance(value, _Pairs):
        seen: dict[str, int] = {}
        for name, item in value:
            seen[name] = seen.get(name, 0) + 1
            if seen[name] == 2:
                yield Fault(pointer_to((*path, name)), "is there more than once")
            yield from _faults(item, (*path, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _faults(item, (*path, number))

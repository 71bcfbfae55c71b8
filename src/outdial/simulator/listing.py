"""`POST /v3/list-calls`: typed filters, an opaque cursor, and no transcripts."""

import asyncio
import base64
import binascii
from dataclasses import dataclass
from typing import Any

import orjson

from outdial.simulator.calls import Call, Stage
from outdial.simulator.clock import wall_ms
from outdial.simulator.filters import Test, criterion
from outdial.simulator.payloads import call_object
from outdial.simulator.requests import ApiError
from outdial.simulator.store import Store

_CHUNK = 500
_MOST = 1000


@dataclass(frozen=True, slots=True)
class _Query:
    where: str
    values: tuple[object, ...]
    tests: tuple[Test, ...]
    descending: bool
    after: tuple[int, int] | None
    limit: int
    skip: int
    total: bool


async def list_calls(store: Store, asked: dict[str, Any]) -> dict[str, Any]:
    """The page that was asked for; raises ApiError 400 for what cannot be understood."""
    query = _read(asked)
    found: list[tuple[Call, Stage]] = []
    total, skip = 0, query.skip
    at = None if query.total else query.after
    while True:
        calls = _chunk(store, query, at)
        for call in calls:
            stage = call.stage(wall_ms())
            if not all(test(call, stage) for test in query.tests):
                continue
            total += 1
            if query.after is not None and not _behind(call, query.after, query.descending):
                continue
            if skip:
                skip -= 1
            elif len(found) <= query.limit:
                found.append((call, stage))
        if len(calls) < _CHUNK or (len(found) > query.limit and not query.total):
            break
        at = (calls[-1].sort_at, calls[-1].seq)
        await asyncio.sleep(0)  # a long list must not hold up the calls that are running
    page = found[: query.limit]
    told: dict[str, Any] = {
        "items": [call_object(call, stage, transcripts=False) for call, stage in page],
        "has_more": len(found) > query.limit,
    }
    if told["has_more"]:
        last = page[-1][0]
        told["pagination_key"] = _cursor(last.sort_at, last.seq)
    if query.total:
        told["total"] = total
    return told


def _chunk(store: Store, query: _Query, after: tuple[int, int] | None) -> list[Call]:
    where, values = query.where, query.values
    side, order = ("<", "DESC") if query.descending else (">", "ASC")
    if after is not None:
        where += f" AND (sort_at, seq) {side} (?, ?)"
        values = (*values, *after)
    return store.select(
        f"WHERE NOT deleted{where} ORDER BY sort_at {order}, seq {order} LIMIT {_CHUNK}", *values
    )


def _behind(call: Call, after: tuple[int, int], descending: bool) -> bool:  # noqa: FBT001
    at = (call.sort_at, call.seq)
    return at < after if descending else at > after


def _cursor(sort_at: int, seq: int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([sort_at, seq])).decode()


def _read_cursor(cursor: object) -> tuple[int, int] | None:
    if cursor is None:
        return None
    try:
        sort_at, seq = orjson.loads(base64.urlsafe_b64decode(str(cursor)))
        return int(sort_at), int(seq)
    except (ValueError, TypeError, binascii.Error):
        raise ApiError(400, "pagination_key is not one of ours") from None


def _read(asked: dict[str, Any]) -> _Query:
    order = asked.get("sort_order", "descending")
    if order not in ("ascending", "descending"):
        raise ApiError(400, "sort_order is ascending or descending")
    limit = _natural(asked, "limit", 50)
    if not 1 <= limit <= _MOST:
        raise ApiError(400, f"limit is from 1 to {_MOST}")
    criteria = asked.get("filter_criteria", {})
    if not isinstance(criteria, dict):
        raise ApiError(400, "filter_criteria must be an object")
    where, values, tests = "", tuple[object, ...](), list[Test]()
    for name, condition in criteria.items():
        more_where, more_values, more_tests = criterion(name, condition)
        where += more_where
        values += more_values
        tests += more_tests
    return _Query(
        where=where,
        values=values,
        tests=tuple(tests),
        descending=order == "descending",
        after=_read_cursor(asked.get("pagination_key")),
        limit=limit,
        skip=_natural(asked, "skip", 0),
        total=asked.get("include_total") is True,
    )


def _natural(asked: dict[str, Any], name: str, default: int) -> int:
    value = asked.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ApiError(400, f"{name} must be a whole number")
    return value

"""Two warehouses, the same rows, every question: do they answer alike?

For `outdial doctor --warehouse` and for the tests: whether Snowflake means by the translated
questions what DuckDB means by the written ones.
"""

import math
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

from outdial.analytics.digests import WarehouseDigests
from outdial.analytics.dimensions import DIMENSIONS
from outdial.analytics.funnel import funnel
from outdial.analytics.metrics import METRICS, Grain
from outdial.analytics.questions import Filters, aggregate, latency
from outdial.analytics.records import page, story
from outdial.analytics.scope import OwnRows
from outdial.analytics.series import edges, extent
from outdial.ports.warehouse import ACTIVITY_COLUMNS, ATTEMPT_COLUMNS, CALL_COLUMNS, Row, Warehouse

TENANT = "rehearsal"
#: The night before Europe's clocks change: days, hours and weeks are where zones differ.
_START = 1_774_700_000_000
_SPAN = 3 * 86_400_000
_ZONES = ("UTC", "Europe/Berlin", "America/St_Johns")
#: What is hard to carry: quotes, line ends, NUL, `\N` (some loaders' null), other scripts.
_TEXT = 'O\'Brien "said"\r\n\t\\N \x00 日本語 🎧 \\u0000 --; $1 :x ?'
_ATTEMPT_STATUSES = ("claimed", "initiated", "started", "completed", "completed", "failed", "lost")
_CALL_STATUSES = ("queued", "dialing", "in_progress", "completed", "failed", "cancelled")
_OUTCOMES = (None, "answered", "answered", "voicemail", "no_answer", "busy", "declined", "error")

Rows = tuple[list[Row], list[Row], list[Row]]


async def rehearse(
    one: Warehouse, other: Warehouse, calls: int = 200, questions: Sequence[str] | None = None
) -> AsyncIterator[str]:
    """Load both, ask both; every difference, one line each. Both must be empty.

    Every row is loaded as a first version, then as it is, then the first version once more, which
    must change nothing. Raises `Unavailable`.
    """
    rows = _rows(calls)
    for warehouse in (one, other):
        for load in (_first(rows), rows, _first(rows)):
            await warehouse.load(*load, None)
    for fault in await _stored(one, rows):
        yield fault
    digests = [await WarehouseDigests(each).between("", None) for each in (one, other)]
    if set(digests[0]) != set(digests[1]):
        yield "digests of the rows, which the audit compares, differ"
    ones, others = OwnRows(one, TENANT), OwnRows(other, TENANT)
    for question in QUESTIONS if questions is None else questions:
        first, second = await _ask(ones, question, rows), await _ask(others, question, rows)
        for name in first.keys() | second.keys():
            if not _alike(first.get(name), second.get(name)):
                told = [f"{answer.get(name)}"[:150] for answer in (first, second)]
                yield f"{question}: {name}: {' against '.join(told)}"


async def _stored(warehouse: Warehouse, rows: Rows) -> list[str]:
    """What did not come back as it went in."""
    faults = []
    for table, key, loaded in (
        ("calls", "call_id", rows[0]),
        ("call_attempts", "attempt_id", rows[1]),
        ("activity_events", "event_id", rows[2]),
    ):
        names, found = await warehouse.query(f"SELECT * FROM {table} ORDER BY {key}")  # noqa: S608 - own names
        expected = sorted(loaded, key=lambda row: str(row[key]))
        if len(found) != len(expected):
            faults.append(f"{table}: {len(found)} rows of {len(expected)}")
            continue
        faults += [
            f"{table}.{name}: {value!r:.80} came back for {row[name]!r:.80}"
            for row, values in zip(expected, found, strict=True)
            for name, value in zip(names, values, strict=True)
            if value != row[name]
        ]
    return faults


#: Metrics by a dimension in every zone, for the others by two dimensions at once; and the reports.
_MOMENTS = ("month", "week", "day", "hour", "minute", "hour_of_day", "weekday")
QUESTIONS = (
    "metrics",
    *(f"{name} in {zone}" for name in _MOMENTS for zone in _ZONES),
    *(name for name in DIMENSIONS if name not in _MOMENTS),
    *("funnel", "latency", "edges", "extent", "calls", "attempts", "story"),
)


async def _ask(own: OwnRows, question: str, rows: Rows) -> dict[str, Any]:
    """The answer, taken apart by what its parts are called."""
    filters = Filters(_START, _START + _SPAN, "Europe/Berlin", {"campaign": ("a", "")})
    match question.split(" in "):
        case ["metrics"]:
            table = await aggregate(own, list(METRICS), ["agent_id"], Filters())
            columns = (*table.dimensions, *table.metrics)
            return {name: [row[i] for row in table.rows] for i, name in enumerate(columns)}
        case ["funnel"]:
            return {step.name: (step.count, step.lost) for step in await funnel(own, filters)}
        case ["latency"]:
            return {each.stage.name: each for each in await latency(own, filters)}
        case ["edges"]:
            return {"edges": await edges(own, Filters())}
        case ["extent"]:
            return {"extent": await extent(own, filters)}
        case ["story"]:
            return {"story": await story(own, str(rows[0][-1]["call_id"]))}
        case ["calls" | "attempts" as kind]:
            grain = Grain.CALL if kind == "calls" else Grain.ATTEMPT
            first = await page(own, grain, filters, limit=7)
            second = await page(own, grain, filters, limit=7, cursor=first.next_cursor)
            return {"first": first.items, "second": second.items}
        case [dimension, *zone]:
            asked = ["calls", "attempts", "cost_usd"]
            table = await aggregate(own, asked, [dimension], Filters(tz="".join(zone) or "UTC"))
            return {str(row[0]): row for row in table.rows}
        case _:
            raise AssertionError(question)


def _alike(one: Any, other: Any) -> bool:  # noqa: ANN401 - likewise
    """Equal, kinds included; fractions to the last few of their digits."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12)
    if isinstance(one, Sequence) and not isinstance(one, str) and isinstance(other, Sequence):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(_alike(a, b) for a, b in pairs)
    return type(one) is type(other) and bool(one == other)


def _first(rows: Rows) -> Rows:
    calls, attempts, activity = rows
    return (
        [{**row, "version": 1, "status": "queued"} for row in calls],
        [{**row, "version": 1, "status": "claimed", "transcript": "old"} for row in attempts],
        [{**row} for row in activity],
    )


def _rows(number: int) -> Rows:
    draw = random.Random(number)  # noqa: S311 - a mix, no secret
    calls: list[Row] = []
    attempts: list[Row] = []
    activity: list[Row] = []
    for index in range(number):
        at = _START + _SPAN * index // number
        call = dict.fromkeys(CALL_COLUMNS) | {
            "call_id": f"{at:012x}-{index:04}",
            "version": 3,
            "tenant": TENANT,
            "status": draw.choice(_CALL_STATUSES),
            "campaign": draw.choice([None, "a", "b"]),
            "agent_id": draw.choice([None, "agent_1"]),
            "external_id": _TEXT,
            "attempts": index % 3,
            "not_before": draw.choice([None, at + 5_000]),
            "created_at": at,
            "updated_at": at,
        }
        calls.append(call)
        attempts += [_attempt(draw, call, at, which) for which in range(1, index % 3 + 1)]
        activity.append(
            dict.fromkeys(ACTIVITY_COLUMNS)
            | {"event_id": f"event-{index:04}", "call_id": call["call_id"], "tenant": TENANT}
            | {"type": "voice_call.initiated", "sequence": 1, "occurred_at": at, "data": "{}"}
        )
    return calls, attempts, activity


def _attempt(draw: random.Random, call: Row, at: int, number: int) -> Row:
    def later(since: int | None) -> int | None:
        return None if since is None else draw.choice([None, since + draw.randrange(200_000)])

    submitted = draw.choice([None, at + draw.randrange(20_000)])
    initiated = later(submitted)
    started = later(initiated)
    ended = later(started)
    return dict.fromkeys(ATTEMPT_COLUMNS) | {
        "attempt_id": f"{call['call_id']}-{number}",
        "version": 2,
        "call_id": call["call_id"],
        "number": number,
        "tenant": TENANT,
        "status": draw.choice(_ATTEMPT_STATUSES),
        "campaign": call["campaign"],
        "agent_id": draw.choice(["agent_1", "agent_2"]),
        "metadata": '{"job": "ü", "b": [1, null]}',
        "accepted_at": at,
        "submitted_at": submitted,
        "initiated_at": initiated,
        "started_at": started,
        "ended_at": ended,
        "analyzed_at": later(ended),
        "connected": draw.choice([True, False]),
        "outcome": draw.choice(_OUTCOMES),
        "duration_ms": draw.choice([None, draw.randrange(600_000), 2**40]),
        "call_successful": draw.choice([None, True, False]),
        "user_sentiment": draw.choice([None, "Positive", "Negative", "Unknown"]),
        "call_summary": draw.choice([None, "", "\\N"]),
        "cost_usd": draw.choice([None, draw.randrange(5_000_000) / 1_000_000]),
        "transcript": _TEXT,
        "latency_p50_ms": draw.choice([None, draw.uniform(0, 5_000)]),
        "provisional": False,
    }

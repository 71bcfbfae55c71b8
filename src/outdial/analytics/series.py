"""Metrics over time, without gaps."""

import time
import zoneinfo

from outdial.analytics.buckets import buckets
from outdial.analytics.metrics import METRICS, Grain
from outdial.analytics.questions import Filters, Table, aggregate, condition, source
from outdial.analytics.scope import OwnRows


async def series(own: OwnRows, metrics: tuple[str, ...], interval: str, filters: Filters) -> Table:
    """A row a step, from `from` (or the first row there is) to `to` (or the last, or now).

    Raises `TooManyBucketsError`, `TooManyGroupsError`.
    """
    span = await edges(own, filters)
    if span is None:
        return Table((interval,), metrics, [])
    steps = buckets(interval, *span, zoneinfo.ZoneInfo(filters.tz))
    table = await aggregate(own, metrics, (interval,), filters)
    found = {row[0]: row for row in table.rows}
    empty = [METRICS[name].empty for name in metrics]
    names = sorted({*steps, *found})
    rows = [found.get(name, [name, *empty]) for name in names]
    return Table(table.dimensions, table.metrics, rows)


async def edges(own: OwnRows, filters: Filters) -> tuple[int, int] | None:
    """First and last ms that a series of these filters spans; None where it spans nothing.

    `from` bounds it where it is given; a `to` that lies ahead counts only up to now.
    """
    rows = await own.ask(
        "SELECT min(first), max(last) FROM ("
        "SELECT min(moment) AS first, max(moment) AS last FROM own_calls "
        "UNION ALL SELECT min(moment), max(moment) FROM own_attempts)"
    )
    first, last = rows[0]
    if first is None:
        return None
    if filters.start is not None:
        first = filters.start
    if filters.end is not None:
        last = min(filters.end - 1, max(last, time.time_ns() // 1_000_000))
    return (first, last) if first <= last else None


async def extent(own: OwnRows, filters: Filters) -> tuple[int, int] | None:
    """First and last ms of the rows that these filters leave; None where they leave none."""
    spans = []
    for grain in Grain:
        where = condition(filters, grain)
        row = "c" if grain is Grain.CALL else "a"
        rows = await own.ask(
            f"SELECT min({row}.moment), max({row}.moment) "  # noqa: S608 - own expressions
            f"FROM {source(grain, where.sql)} WHERE {where.sql}",
            where.parameters,
            filters.tz,
        )
        spans += [span for span in rows if span[0] is not None]
    if not spans:
        return None
    return min(first for first, _ in spans), max(last for _, last in spans)

"""What the first page shows, gathered from the same questions that the API answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from outdial.analytics.funnel import Step, funnel
from outdial.analytics.metrics import METRICS, Grain
from outdial.analytics.questions import Filters, StageFigures, aggregate, latency
from outdial.analytics.records import BadCursorError, Page, page
from outdial.analytics.scope import OwnRows
from outdial.analytics.series import edges, extent, series
from outdial.dashboard import charts, formatting
from outdial.dashboard.choice import SELECTS, Choice

_RECENT = 12
_MOST_OPTIONS = 200
#: What a chart by the minute shows at least.
_SHORTEST_MS = 14 * 60_000
_LINES = ("calls", "connected", "answer_rate", "success_rate", "talk_ms_avg", "cost_usd")
_SPLIT = ("placed", "connected", "answer_rate", "success_rate", "talk_ms_avg", "cost_usd")


@dataclass(frozen=True, slots=True)
class Tile:
    """One number at the top. `line`: points of its sparkline."""

    title: str
    value: str
    note: str
    line: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A share of a whole; `share` 0 to 1."""

    name: str
    title: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Split:
    """A table of metrics by one dimension, with a link that filters by each value."""

    title: str
    dimension: str
    rows: list[tuple[str | None, str | None, list[str]]]


@dataclass(frozen=True, slots=True)
class Chart:
    """A Vega-Lite specification, and the same numbers as a table."""

    name: str
    title: str
    spec: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class View:
    """Everything on the first page. `empty`: the tenant has no call at all."""

    choice: Choice
    as_of: int | None
    empty: bool
    options: Mapping[str, list[str]]
    tiles: list[Tile]
    steps: list[Step]
    outcomes: list[Bar]
    moods: list[Bar]
    charts: list[Chart]
    splits: list[Split]
    stages: list[StageFigures]
    recent: Page


async def gather(own: OwnRows, choice: Choice) -> View:
    """Ask for everything the page shows."""
    filters = choice.filters
    as_of = await own.as_of()
    values = await _values(own, filters)
    span = await extent(own, filters)
    interval = _interval(span)
    if span is not None and interval == "minute":
        # A minute or two of calls would make one bar as wide as the page.
        span = min(span[0], span[1] - _SHORTEST_MS), span[1]
    lines: dict[str, list[Any]] = {}
    if span is not None:
        table = await series(own, _LINES, interval, _within(filters, span))
        lines = dict(zip(("at", *_LINES), zip(*table.rows, strict=True), strict=False))  # type: ignore[arg-type]
    return View(
        choice=choice,
        as_of=as_of,
        empty=await edges(own, Filters()) is None,
        options=await _options(own),
        tiles=_tiles(values, lines),
        steps=await funnel(own, filters),
        outcomes=await _bars(own, filters, "outcome"),
        moods=await _bars(own, filters, "sentiment"),
        charts=await _charts(own, filters, span, interval, lines.get("at", [])),
        splits=[
            await _split(own, choice, "agent_id", "Agents"),
            await _split(own, choice, "campaign", "Campaigns"),
        ],
        stages=await latency(own, filters),
        recent=await _recent(own, choice),
    )


async def _values(own: OwnRows, filters: Filters) -> dict[str, Any]:
    table = await aggregate(own, tuple(METRICS), (), filters)
    return dict(zip(table.metrics, table.rows[0], strict=True))


def _tiles(values: Mapping[str, Any], lines: Mapping[str, list[Any]]) -> list[Tile]:
    def line(name: str) -> str:
        return charts.sparkline(lines.get(name, []))

    count, percent, duration, money = (
        formatting.count,
        formatting.percent,
        formatting.duration,
        formatting.money,
    )
    return [
        Tile("Calls", count(values["calls"]), f"{count(values['dialed'])} dialed", line("calls")),
        Tile(
            "Connected",
            count(values["connected"]),
            f"{percent(values['connect_rate'])} of attempts ended",
            line("connected"),
        ),
        Tile(
            "Answer rate",
            percent(values["answer_rate"]),
            f"{count(values['answered'])} answered by a person",
            line("answer_rate"),
        ),
        Tile(
            "Success rate",
            percent(values["success_rate"]),
            f"{count(values['successful'])} reached their goal",
            line("success_rate"),
        ),
        Tile(
            "Talk time",
            duration(values["talk_ms_avg"]),
            f"on average · {duration(values['talk_ms_sum'])} in all",
            line("talk_ms_avg"),
        ),
        Tile(
            "Cost",
            money(values["cost_usd"]),
            f"{money(values['cost_per_success_usd'])} a success",
            line("cost_usd"),
        ),
        Tile(
            "Waiting",
            count(values["waiting"]),
            f"{count(values['under_way'])} under way now",
        ),
    ]


async def _bars(own: OwnRows, filters: Filters, dimension: str) -> list[Bar]:
    metric = "ended" if dimension == "outcome" else "completed"
    table = await aggregate(own, (metric,), (dimension,), filters)
    found = [(name, number) for name, number in table.rows if name is not None and number]
    total = sum(number for _, number in found)
    order = list(charts.OUTCOMES)
    found.sort(
        key=lambda row: (order.index(row[0]) if row[0] in order else len(order), -row[1], row[0])
    )
    return [Bar(name, formatting.words(name), number, number / total) for name, number in found]


async def _charts(
    own: OwnRows,
    filters: Filters,
    span: tuple[int, int] | None,
    interval: str,
    steps: Sequence[str],
) -> list[Chart]:
    if span is None:
        return []
    # Deferred and refused attempts have no outcome and will have none: they are no bars here.
    table = await aggregate(own, ("placed",), (interval, "outcome"), _within(filters, span))
    bars = [row for row in table.rows if row[2]]
    found = [
        Chart(
            "activity",
            "Placed attempts over time",
            json.dumps(charts.outcomes_over_time(interval, bars, steps)),
            (formatting.words(interval), "Outcome", METRICS["placed"].title),
            [
                (at or "", formatting.words(outcome or "under_way"), formatting.count(number))
                for at, outcome, number in bars
            ],
        )
    ]
    hours = await aggregate(own, ("ended", "answer_rate"), ("weekday", "hour_of_day"), filters)
    if len(hours.rows) > 3:
        found.append(
            Chart(
                "hours",
                "Answer rate by weekday and hour",
                json.dumps(charts.best_hours(hours.rows)),
                ("Weekday", "Hour", "Ended", "Answer rate"),
                [
                    (str(day), str(hour), formatting.count(ended), formatting.percent(rate))
                    for day, hour, ended, rate in hours.rows
                ],
            )
        )
    return found


async def _split(own: OwnRows, choice: Choice, dimension: str, title: str) -> Split:
    table = await aggregate(own, _SPLIT, (dimension,), choice.filters)
    rows = sorted((row for row in table.rows if row[1]), key=lambda row: -row[1])[:10]
    forms = (
        formatting.count,
        formatting.count,
        formatting.percent,
        formatting.percent,
        formatting.duration,
        formatting.money,
    )
    return Split(
        title,
        dimension,
        [
            (
                row[0],
                choice.url(**{dimension: row[0]}) if row[0] else None,
                [form(value) for form, value in zip(forms, row[1:], strict=True)],
            )
            for row in rows
        ],
    )


async def _recent(own: OwnRows, choice: Choice) -> Page:
    try:
        return await page(own, Grain.CALL, choice.filters, limit=_RECENT, cursor=choice.cursor)
    except BadCursorError:
        return await page(own, Grain.CALL, choice.filters, limit=_RECENT)


async def _options(own: OwnRows) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"outcome": list(charts.OUTCOMES)}
    for name in SELECTS:
        if name not in found:
            rows = await own.ask(
                f"SELECT {name} FROM own_calls WHERE {name} IS NOT NULL "  # noqa: S608 - our own names
                f"UNION SELECT {name} FROM own_attempts WHERE {name} IS NOT NULL "
                f"ORDER BY 1 LIMIT {_MOST_OPTIONS}"
            )
            found[name] = [row[0] for row in rows]
    return found


def _interval(span: tuple[int, int] | None) -> str:
    """Steps that make a readable chart of this span."""
    hours = 0.0 if span is None else (span[1] - span[0]) / 3_600_000
    for interval, most in (("minute", 3), ("hour", 72), ("day", 24 * 100), ("week", 24 * 800)):
        if hours <= most:
            return interval
    return "month"


def _within(filters: Filters, span: tuple[int, int]) -> Filters:
    return Filters(span[0], span[1] + 1, filters.tz, filters.equal)

"""Questions about metrics, turned into SQL and answered as columns and rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from outdial.analytics.dimensions import DIMENSIONS, FILTERS
from outdial.analytics.metrics import METRICS, STAGES, Grain, Metric, Stage, stage_figures
from outdial.analytics.scope import OwnRows

#: Groups that one question may have: an answer is held in memory.
MOST_GROUPS = 50_000

#: What every query reads: calls with their latest attempt, or attempts.
_CALLS = "own_calls c"
_CALLS_JOINED = (
    "own_calls c LEFT JOIN own_attempts a ON a.call_id = c.call_id AND a.number = c.attempts"
)
_ATTEMPTS = "own_attempts a"


class TooManyGroupsError(Exception):
    """The question has more than `MOST_GROUPS` groups: fewer dimensions, or a shorter time."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which rows count. Times in ms, `end` exclusive; `tz` an IANA name.

    `equal`: values a filter, any of which will do; an empty text stands for rows without a value.
    """

    start: int | None = None
    end: int | None = None
    tz: str = "UTC"
    equal: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Condition:
    """A WHERE clause with its parameters."""

    sql: str
    parameters: list[Any]


def condition(filters: Filters, grain: Grain) -> Condition:
    """The rows of this grain that count."""
    row = "c" if grain is Grain.CALL else "a"
    parts = ["TRUE"]
    parameters: list[Any] = []
    if filters.start is not None:
        parts.append(f"{row}.moment >= ?")
        parameters.append(filters.start)
    if filters.end is not None:
        parts.append(f"{row}.moment < ?")
        parameters.append(filters.end)
    for name, values in filters.equal.items():
        sql = f"CAST({FILTERS[name].sql(grain)} AS VARCHAR)"
        present = [value for value in values if value]
        choices = []
        if present:
            choices.append(f"{sql} IN ({', '.join('?' for _ in present)})")
            parameters.extend(present)
        if len(present) < len(values):
            choices.append(f"{sql} IS NULL")
        parts.append(f"({' OR '.join(choices)})")
    return Condition(" AND ".join(parts), parameters)


def source(grain: Grain, *expressions: str) -> str:
    """The relation to read: without the latest attempt where no expression speaks of it."""
    if grain is Grain.ATTEMPT:
        return _ATTEMPTS
    joined = any("a." in expression for expression in expressions)
    return _CALLS_JOINED if joined else _CALLS


@dataclass(frozen=True, slots=True)
class Table:
    """An answer: dimensions first, then metrics, each row in that order."""

    dimensions: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: list[list[Any]]


async def aggregate(
    own: OwnRows, metrics: Sequence[str], dimensions: Sequence[str], filters: Filters
) -> Table:
    """Metrics by dimensions, in the order of the dimensions' values; nulls last.

    Metrics of calls and of attempts are asked apart and put together by their dimensions' values.
    Raises `TooManyGroupsError`.
    """
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for grain in Grain:
        chosen = [METRICS[name] for name in metrics if METRICS[name].grain is grain]
        if chosen:
            for key, values in await _grouped(own, grain, chosen, dimensions, filters):
                groups.setdefault(key, {}).update(values)
    if len(groups) > MOST_GROUPS:
        raise TooManyGroupsError
    rows = [
        [*key, *(values.get(name, METRICS[name].empty) for name in metrics)]
        for key, values in sorted(groups.items(), key=lambda item: sortable(item[0]))
    ]
    return Table(tuple(dimensions), tuple(metrics), rows)


async def _grouped(
    own: OwnRows,
    grain: Grain,
    metrics: Sequence[Metric],
    dimensions: Sequence[str],
    filters: Filters,
) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    keys = [DIMENSIONS[name].sql(grain) for name in dimensions]
    values = [metric.sql for metric in metrics]
    where = condition(filters, grain)
    group = f"GROUP BY {', '.join(str(n + 1) for n in range(len(keys)))}" if keys else ""
    select = (
        f"SELECT {', '.join(keys + values)} FROM {source(grain, *keys, *values, where.sql)} "  # noqa: S608 - definitions and parameters only
        f"WHERE {where.sql} {group} LIMIT {MOST_GROUPS + 1}"
    )
    rows = await own.ask(select, where.parameters, filters.tz)
    names = [metric.name for metric in metrics]
    return [(row[: len(keys)], dict(zip(names, row[len(keys) :], strict=True))) for row in rows]


def sortable(values: Sequence[Any]) -> list[tuple[bool, Any]]:
    """A sort key that puts nulls last."""
    return [(value is None, "" if value is None else value) for value in values]


@dataclass(frozen=True, slots=True)
class StageFigures:
    """How long a stage takes, in ms; None where no call has come through it."""

    stage: Stage
    count: int
    p50: int | None
    p90: int | None
    p95: int | None
    p99: int | None
    longest: int | None


async def latency(own: OwnRows, filters: Filters) -> list[StageFigures]:
    """Every stage, in the order of a call's life."""
    found: dict[str, tuple[Any, ...]] = {}
    for grain in Grain:
        stages = [stage for stage in STAGES if stage.grain is grain]
        figures = [figure for stage in stages for figure in stage_figures(stage)]
        where = condition(filters, grain)
        select = (
            f"SELECT {', '.join(figures)} FROM {source(grain, *figures, where.sql)} "  # noqa: S608 - likewise
            f"WHERE {where.sql}"
        )
        row = (await own.ask(select, where.parameters, filters.tz))[0]
        width = len(figures) // len(stages)
        for number, stage in enumerate(stages):
            found[stage.name] = row[number * width : (number + 1) * width]
    return [StageFigures(stage, *found[stage.name]) for stage in STAGES]

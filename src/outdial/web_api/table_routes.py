"""Metrics as tables: `GET /v1/analytics/{overview,timeseries,breakdown,query}`.

Every question is asked as the caller's tenant; the operational database is never asked.
"""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from outdial.analytics.buckets import TooManyBucketsError
from outdial.analytics.dimensions import INTERVALS
from outdial.analytics.metrics import DEFAULT_METRICS, METRICS
from outdial.analytics.questions import (
    MOST_GROUPS,
    Filters,
    Table,
    TooManyGroupsError,
    aggregate,
    sortable,
)
from outdial.analytics.scope import OwnRows
from outdial.analytics.series import series
from outdial.http_common.auth import Authentication
from outdial.http_common.problems import Fault, ProblemError, invalid
from outdial.ports.keys import Scope
from outdial.ports.warehouse import Warehouse
from outdial.web_api.answers import CSV, JSON, about, answer, negotiate
from outdial.web_api.description import ASKED, answers, description
from outdial.web_api.parameters import Parameters

_BY = ("by", "dimension", "dimensions")


def table_routes(warehouse: Warehouse, authentication: Authentication) -> APIRouter:
    """Metrics as numbers and tables; reports are in `report_routes`, rows in `record_routes`."""
    router = APIRouter(prefix="/v1/analytics", tags=["analytics"], default_response_class=Response)

    async def own(request: Request) -> OwnRows:
        caller = await authentication.caller(request, Scope.ANALYTICS_READ)
        return OwnRows(warehouse, caller.tenant)

    @router.get(
        "/overview", openapi_extra=description("metrics"), responses=answers(JSON, CSV, also=ASKED)
    )
    async def overview(request: Request) -> Response:
        """All metrics, or those asked for, as single numbers."""
        rows = await own(request)
        media = negotiate(request, JSON, CSV)
        asked = Parameters(request.query_params, "metrics")
        filters = asked.filters()
        metrics = asked.metrics(tuple(METRICS))
        asked.done()
        as_of = await rows.as_of()
        values = (await aggregate(rows, metrics, (), filters)).rows[0]
        body = about(as_of, filters) | {"metrics": dict(zip(metrics, values, strict=True))}
        return answer(media, as_of, body, (metrics, [values]))

    @router.get(
        "/timeseries",
        openapi_extra=description("metrics", "interval"),
        responses=answers(JSON, CSV, also=ASKED),
    )
    async def timeseries(request: Request) -> Response:
        """Metrics over time, a row a step; quiet steps are there with zeros."""
        rows = await own(request)
        media = negotiate(request, JSON, CSV)
        asked = Parameters(request.query_params, "metrics", "interval")
        filters = asked.filters()
        metrics = asked.metrics(DEFAULT_METRICS)
        interval = asked.choice("interval", INTERVALS, "day")
        asked.done()
        as_of = await rows.as_of()
        table = await _series(rows, metrics, interval, filters)
        return _table(media, as_of, filters, table, {"interval": interval})

    @router.get(
        "/breakdown",
        openapi_extra=description("by", "metrics", "sort", "limit"),
        responses=answers(JSON, CSV, also=ASKED),
    )
    async def breakdown(request: Request) -> Response:
        """Metrics by dimension (`by=outcome`), the largest of the first metric first."""
        default = tuple(dict.fromkeys(("attempts", *DEFAULT_METRICS)))
        return await _split(request, await own(request), _BY, ("outcome",), default)

    @router.get(
        "/query",
        openapi_extra=description("metrics", "dimensions", "sort", "limit"),
        responses=answers(JSON, CSV, also=ASKED),
    )
    async def query(request: Request) -> Response:
        """Any metrics by any dimensions, in the order of the dimensions' values."""
        return await _split(request, await own(request), ("dimensions",), (), DEFAULT_METRICS)

    return router


async def _split(
    request: Request,
    own: OwnRows,
    names: tuple[str, ...],
    dimensions: tuple[str, ...],
    metrics: tuple[str, ...],
) -> Response:
    """Answer with a table; `names` are the parameter of dimensions, the others its defaults."""
    media = negotiate(request, JSON, CSV)
    asked = Parameters(request.query_params, *names, "metrics", "sort", "limit")
    filters = asked.filters()
    by = asked.dimensions(names, dimensions)
    shown = asked.metrics(metrics)
    largest_first = names is _BY and shown
    sort = asked.sort((*by, *shown), f"-{shown[0]}" if largest_first else None)
    limit = asked.whole("limit", 1_000, MOST_GROUPS)
    asked.done()
    as_of = await own.as_of()
    table = _cut(await _aggregated(own, shown, by, filters), sort, limit)
    return _table(media, as_of, filters, table, {})


async def _series(own: OwnRows, metrics: tuple[str, ...], interval: str, filters: Filters) -> Table:
    try:
        return await series(own, metrics, interval, filters)
    except (TooManyBucketsError, TooManyGroupsError):
        detail = "is too short for so long a time"
        raise ProblemError(invalid([Fault("?interval", detail)])) from None


async def _aggregated(
    own: OwnRows, metrics: tuple[str, ...], dimensions: tuple[str, ...], filters: Filters
) -> Table:
    try:
        return await aggregate(own, metrics, dimensions, filters)
    except TooManyGroupsError:
        detail = f"make more than {MOST_GROUPS} groups; ask for fewer, or for a shorter time"
        raise ProblemError(invalid([Fault("?dimensions", detail)])) from None


def _cut(table: Table, sort: tuple[str, bool] | None, limit: int) -> Table:
    rows = table.rows
    if sort is not None:
        column, falling = sort
        place = (*table.dimensions, *table.metrics).index(column)
        present = [row for row in rows if row[place] is not None]
        absent = [row for row in rows if row[place] is None]
        present.sort(key=lambda row: sortable([row[place]]), reverse=falling)
        rows = present + absent
    return Table(table.dimensions, table.metrics, rows[:limit])


def _table(
    media: str, as_of: int | None, filters: Filters, table: Table, more: dict[str, Any]
) -> Response:
    columns = [{"name": name, "kind": "dimension", "unit": None} for name in table.dimensions] + [
        {"name": name, "kind": "metric", "unit": METRICS[name].unit} for name in table.metrics
    ]
    body = about(as_of, filters) | more | {"columns": columns, "rows": table.rows}
    return answer(media, as_of, body, ([str(column["name"]) for column in columns], table.rows))

"""The analytics API: `GET /v1/analytics/…`.

Every question is asked as the caller's tenant; the operational database is never asked.
"""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from outdial.analytics.buckets import TooManyBucketsError
from outdial.analytics.dimensions import DIMENSIONS, FILTERS, INTERVALS
from outdial.analytics.funnel import funnel
from outdial.analytics.metrics import DEFAULT_METRICS, METRICS
from outdial.analytics.questions import (
    MOST_GROUPS,
    Filters,
    Table,
    TooManyGroupsError,
    aggregate,
    latency,
    sortable,
)
from outdial.analytics.scope import OwnRows
from outdial.analytics.series import series
from outdial.http_common.auth import Authentication
from outdial.http_common.problems import Fault, ProblemError, invalid
from outdial.ports.keys import Scope
from outdial.ports.warehouse import Warehouse
from outdial.web_api.answers import CSV, JSON, about, answer, negotiate
from outdial.web_api.description import description
from outdial.web_api.parameters import Parameters

_BY = ("by", "dimension", "dimensions")


def analytics_routes(warehouse: Warehouse, authentication: Authentication) -> APIRouter:
    """Metrics in every shape; rows are in `record_routes`."""
    router = APIRouter(prefix="/v1/analytics", tags=["analytics"])

    async def own(request: Request) -> OwnRows:
        caller = await authentication.caller(request, Scope.ANALYTICS_READ)
        return OwnRows(warehouse, caller.tenant)

    @router.get("/metrics", openapi_extra=description("format"))
    async def definitions(request: Request) -> Response:
        """Every metric, dimension and filter, with its meaning."""
        rows = await own(request)
        media = negotiate(request, JSON, CSV)
        asked = Parameters(request.query_params)
        asked.filters()
        asked.done()
        metrics = [
            {
                "name": metric.name,
                "title": metric.title,
                "meaning": metric.meaning,
                "unit": metric.unit,
                "of": metric.grain,
                "sql": metric.sql,
            }
            for metric in METRICS.values()
        ]
        body = {
            "as_of": about(await rows.as_of(), Filters())["as_of"],
            "metrics": metrics,
            "dimensions": [
                {"name": each.name, "title": each.title, "meaning": each.meaning}
                for each in DIMENSIONS.values()
            ],
            "filters": [{"name": each.name, "meaning": each.meaning} for each in FILTERS.values()],
        }
        return answer(
            media, await rows.as_of(), body, (list(metrics[0]), [list(m.values()) for m in metrics])
        )

    @router.get("/overview", openapi_extra=description("metrics"))
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

    @router.get("/timeseries", openapi_extra=description("metrics", "interval"))
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

    @router.get("/breakdown", openapi_extra=description("by", "metrics", "sort", "limit"))
    async def breakdown(request: Request) -> Response:
        """Metrics by dimension (`by=outcome`), the largest of the first metric first."""
        rows = await own(request)
        media = negotiate(request, JSON, CSV)
        asked = Parameters(request.query_params, *_BY, "metrics", "sort", "limit")
        filters = asked.filters()
        dimensions = asked.dimensions(_BY, ("outcome",))
        metrics = asked.metrics(("attempts", *DEFAULT_METRICS))
        default = f"-{metrics[0]}" if metrics else None
        sort = asked.sort((*dimensions, *metrics), default)
        limit = asked.whole("limit", 100, MOST_GROUPS)
        asked.done()
        as_of = await rows.as_of()
        table = await _aggregated(rows, metrics, dimensions, filters)
        return _table(media, as_of, filters, _cut(table, sort, limit), {})

    @router.get("/query", openapi_extra=description("metrics", "dimensions", "sort", "limit"))
    async def query(request: Request) -> Response:
        """Any metrics by any dimensions."""
        rows = await own(request)
        media = negotiate(request, JSON, CSV)
        asked = Parameters(request.query_params, "metrics", "dimensions", "sort", "limit")
        filters = asked.filters()
        dimensions = asked.dimensions(("dimensions",), ())
        metrics = asked.metrics(DEFAULT_METRICS)
        sort = asked.sort((*dimensions, *metrics), None)
        limit = asked.whole("limit", 1_000, MOST_GROUPS)
        asked.done()
        as_of = await rows.as_of()
        table = await _aggregated(rows, metrics, dimensions, filters)
        return _table(media, as_of, filters, _cut(table, sort, limit), {})

    @router.get("/funnel", openapi_extra=description())
    async def way(request: Request) -> Response:
        """How far the calls accepted in the period came, and why not further."""
        rows = await own(request)
        media = negotiate(request, JSON, CSV)
        asked = Parameters(request.query_params)
        filters = asked.filters()
        asked.done()
        as_of = await rows.as_of()
        steps = await funnel(rows, filters)
        body = about(as_of, filters) | {
            "steps": [
                {
                    "name": step.name,
                    "title": step.title,
                    "meaning": step.meaning,
                    "count": step.count,
                    "share": step.share,
                    "lost": [{"reason": loss.reason, "count": loss.count} for loss in step.lost],
                }
                for step in steps
            ]
        }
        lines: list[list[Any]] = []
        for step in steps:
            lines.append([step.name, step.count, step.share, None, None])
            lines += [[step.name, None, None, loss.reason, loss.count] for loss in step.lost]
        return answer(
            media, as_of, body, (("step", "count", "share", "lost_reason", "lost_count"), lines)
        )

    @router.get("/latency", openapi_extra=description())
    async def spans(request: Request) -> Response:
        """How long each stage of a call takes, in ms."""
        rows = await own(request)
        media = negotiate(request, JSON, CSV)
        asked = Parameters(request.query_params)
        filters = asked.filters()
        asked.done()
        as_of = await rows.as_of()
        stages = [
            {
                "name": found.stage.name,
                "title": found.stage.title,
                "meaning": found.stage.meaning,
                "count": found.count,
                "p50_ms": found.p50,
                "p90_ms": found.p90,
                "p95_ms": found.p95,
                "p99_ms": found.p99,
                "max_ms": found.longest,
            }
            for found in await latency(rows, filters)
        ]
        body = about(as_of, filters) | {"stages": stages}
        return answer(
            media, as_of, body, (list(stages[0]), [list(each.values()) for each in stages])
        )

    return router


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

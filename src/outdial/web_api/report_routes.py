"""Reports of a fixed shape: `GET /v1/analytics/{metrics,funnel,latency}`."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from outdial.analytics.dimensions import DIMENSIONS, FILTERS
from outdial.analytics.funnel import funnel
from outdial.analytics.metrics import METRICS
from outdial.analytics.questions import Filters, latency
from outdial.analytics.scope import OwnRows
from outdial.http_common.auth import Authentication
from outdial.ports.keys import Scope
from outdial.ports.warehouse import Warehouse
from outdial.web_api.answers import CSV, JSON, about, answer, negotiate
from outdial.web_api.description import ASKED, answers, description
from outdial.web_api.parameters import Parameters


def report_routes(warehouse: Warehouse, authentication: Authentication) -> APIRouter:
    """The definitions, the funnel, and how long things take."""
    router = APIRouter(prefix="/v1/analytics", tags=["analytics"], default_response_class=Response)

    async def own(request: Request) -> OwnRows:
        caller = await authentication.caller(request, Scope.ANALYTICS_READ)
        return OwnRows(warehouse, caller.tenant)

    @router.get(
        "/metrics", openapi_extra=description("format"), responses=answers(JSON, CSV, also=ASKED)
    )
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

    @router.get("/funnel", openapi_extra=description(), responses=answers(JSON, CSV, also=ASKED))
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

    @router.get("/latency", openapi_extra=description(), responses=answers(JSON, CSV, also=ASKED))
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

"""Rows: `GET /v1/analytics/calls`, `/attempts`, and `/calls/{id}`.

JSON comes in pages; CSV and Parquet hold all rows, CSV streamed page by page, Parquet written by
the warehouse itself.
"""

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from outdial.analytics.metrics import Grain
from outdial.analytics.questions import Filters
from outdial.analytics.records import (
    COLUMNS,
    TIMES,
    BadCursorError,
    CallStory,
    Page,
    export,
    page,
    story,
)
from outdial.analytics.scope import OwnRows
from outdial.analytics.transcript import turns
from outdial.http_common.auth import Authentication
from outdial.http_common.bodies import json_response
from outdial.http_common.problems import Fault, Problem, ProblemError, invalid
from outdial.ports.keys import Scope
from outdial.ports.warehouse import Warehouse
from outdial.web_api.answers import (
    CSV,
    JSON,
    PARQUET,
    about,
    as_of_headers,
    csv_text,
    moment,
    negotiate,
)
from outdial.web_api.description import ASKED, answers, description
from outdial.web_api.parameters import Parameters

MOST_ROWS = 1_000
_CSV_PAGE = 1_000


def record_routes(warehouse: Warehouse, authentication: Authentication) -> APIRouter:
    """Rows of the caller's tenant."""
    router = APIRouter(prefix="/v1/analytics", tags=["rows"], default_response_class=Response)

    async def own(request: Request) -> OwnRows:
        caller = await authentication.caller(request, Scope.ANALYTICS_READ)
        return OwnRows(warehouse, caller.tenant)

    @router.get(
        "/calls",
        openapi_extra=description("limit", "cursor"),
        responses=answers(JSON, CSV, PARQUET, also=ASKED),
    )
    async def calls(request: Request) -> Response:
        """A row a call, with what its latest attempt came to; newest first."""
        return await _rows(request, await own(request), Grain.CALL)

    @router.get(
        "/attempts",
        openapi_extra=description("limit", "cursor"),
        responses=answers(JSON, CSV, PARQUET, also=ASKED),
    )
    async def attempts(request: Request) -> Response:
        """A row an attempt; newest first. Metrics of attempts are recomputable from these."""
        return await _rows(request, await own(request), Grain.ATTEMPT)

    @router.get("/calls/{call_id}", responses=answers(JSON, also=(404, 422)))
    async def call(request: Request, call_id: str) -> Response:
        """One call: details, attempts with transcripts, and what happened when."""
        rows = await own(request)
        found = await story(rows, call_id)
        if found is None:
            raise ProblemError(Problem(404, "there is no such call"))
        return json_response(
            {"as_of": moment(await rows.as_of()), **call_body(found)},
            headers=as_of_headers(await rows.as_of()),
        )

    return router


def row_body(item: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its times as RFC 3339."""
    return {name: moment(value) if name in TIMES else value for name, value in item.items()}


def call_body(found: CallStory) -> dict[str, Any]:
    """A call as `GET /v1/analytics/calls/{id}` shows it."""
    attempts = []
    for attempt in found.attempts:
        body = row_body(attempt)
        body["transcript"] = [
            {"role": turn.role, "text": turn.text} for turn in turns(attempt["transcript"])
        ]
        attempts.append(body)
    timeline = [{**entry, "at": moment(entry["at"])} for entry in found.timeline]
    return {**row_body(found.call), "attempts": attempts, "timeline": timeline}


async def _rows(request: Request, own: OwnRows, grain: Grain) -> Response:
    media = negotiate(request, JSON, CSV, PARQUET)
    asked = Parameters(request.query_params, "limit", "cursor")
    filters = asked.filters(grain)
    limit = asked.whole("limit", 50, MOST_ROWS)
    cursor = asked.text("cursor")
    if media != JSON:
        asked.refuse("limit", "pages are for JSON; CSV and Parquet hold all rows")
    asked.done()
    as_of = await own.as_of()
    if media == PARQUET:
        return await _parquet(own, grain, filters, as_of)
    if media == CSV:
        first = await _page(own, grain, filters, _CSV_PAGE, cursor)
        return StreamingResponse(
            _csv(own, grain, filters, first),
            headers=as_of_headers(as_of) | _named(grain, "csv"),
            media_type=CSV,
        )
    found = await _page(own, grain, filters, limit, cursor)
    body = about(as_of, filters) | {
        "items": [row_body(item) for item in found.items],
        "next_cursor": found.next_cursor,
    }
    return json_response(body, headers=as_of_headers(as_of) | {"Vary": "Accept"})


async def _page(
    own: OwnRows, grain: Grain, filters: Filters, limit: int, cursor: str | None
) -> Page:
    try:
        return await page(own, grain, filters, limit=limit, cursor=cursor)
    except BadCursorError:
        detail = "must be a next_cursor of an earlier answer"
        raise ProblemError(invalid([Fault("?cursor", detail)])) from None


async def _csv(own: OwnRows, grain: Grain, filters: Filters, first: Page) -> AsyncIterator[str]:
    yield csv_text([list(COLUMNS[grain])])
    found = first
    while True:
        yield csv_text(list(row_body(item).values()) for item in found.items)
        if found.next_cursor is None:
            return
        found = await page(own, grain, filters, limit=_CSV_PAGE, cursor=found.next_cursor)


async def _parquet(own: OwnRows, grain: Grain, filters: Filters, as_of: int | None) -> Response:
    folder = tempfile.TemporaryDirectory(prefix="outdial-export-")
    path = Path(folder.name) / "rows.parquet"
    async with _removed_on_error(folder):
        await own.export(*export(grain, filters), filters.tz, path)
    return FileResponse(
        path,
        headers=as_of_headers(as_of) | _named(grain, "parquet"),
        media_type=PARQUET,
        background=BackgroundTask(folder.cleanup),
    )


@asynccontextmanager
async def _removed_on_error(folder: "tempfile.TemporaryDirectory[str]") -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        folder.cleanup()
        raise


def _named(grain: Grain, ending: str) -> dict[str, str]:
    return {
        "Content-Disposition": f'attachment; filename="{grain}s.{ending}"',
        "Vary": "Accept",
    }

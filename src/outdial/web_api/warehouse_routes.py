"""The warehouse itself: how fresh it is, and loading it anew.

DuckDB lets one process own its file, so the command line asks that process here.
"""

import asyncio
from collections.abc import AsyncIterator

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from outdial.analytics.loader import Loader
from outdial.errors import Unavailable
from outdial.http_common.auth import Authentication
from outdial.http_common.bodies import json_response
from outdial.http_common.problems import Problem, ProblemError
from outdial.ports.keys import Scope
from outdial.ports.warehouse import Warehouse
from outdial.web_api.answers import JSON, moment
from outdial.web_api.description import answers

_NDJSON = "application/x-ndjson"


def warehouse_routes(
    warehouse: Warehouse, authentication: Authentication, loader: Loader | None
) -> APIRouter:
    """`GET /v1/warehouse` and `POST /v1/warehouse/rebuild`."""
    router = APIRouter(prefix="/v1/warehouse", tags=["warehouse"], default_response_class=Response)

    @router.get("", responses=answers(JSON))
    async def state(request: Request) -> Response:
        """How fresh the warehouse is, and what the loader in this process has done."""
        await authentication.caller(request, Scope.ANALYTICS_READ)
        counters = None
        if loader is not None:
            counters = {
                "rows": loader.counters.rows,
                "loads": loader.counters.loads,
                "failures": loader.counters.failures,
            }
        return json_response({"as_of": moment(await warehouse.as_of()), "loader": counters})

    @router.post("/rebuild", responses=answers(_NDJSON, also=(409,)))
    async def rebuild(request: Request) -> Response:
        """Load everything anew; scope `admin`.

        NDJSON: `{"loaded", "waiting"}` while it goes on, then `{"loaded", "done": true}` or
        `{"loaded", "problem"}`.
        """
        await authentication.caller(request, Scope.ADMIN)
        if loader is None:
            detail = "the loader runs in another process; ask that one"
            raise ProblemError(Problem(409, detail))
        return StreamingResponse(_rebuilding(loader), media_type=_NDJSON)

    return router


async def _rebuilding(loader: Loader) -> AsyncIterator[bytes]:
    told: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
    task = asyncio.create_task(
        loader.rebuild(lambda loaded, waiting: told.put_nowait((loaded, waiting)))
    )
    loaded = 0
    try:
        while not task.done() or not told.empty():
            asked = asyncio.create_task(told.get())
            await asyncio.wait({asked, task}, return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                asked.cancel()
                continue
            loaded, waiting = asked.result()
            yield orjson.dumps({"loaded": loaded, "waiting": waiting}) + b"\n"
        try:
            yield orjson.dumps({"loaded": await task, "done": True}) + b"\n"
        except Unavailable as error:
            problem = Problem(503, f"the {error.dependency} does not answer; try again").body()
            yield orjson.dumps({"loaded": loaded, "problem": problem}) + b"\n"
    finally:
        # Whoever asked has gone: what is missing goes on by the loader's own loop.
        task.cancel()

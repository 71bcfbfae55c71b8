"""Health and metrics, the same on every stage: `/healthz`, `/readyz`, `/metrics`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from outdial.errors import OutdialError
from outdial.http_common.bodies import json_response
from outdial.http_common.problems import install

#: Seconds that a check may take before it counts as failed.
CHECK_SECONDS = 3.0

#: Returns where all is well, raises where it is not. A text it returns is a note for a person.
Check = Callable[[], Awaitable[object]]

_log = structlog.get_logger(__name__)


def operations_routes(checks: Mapping[str, Check]) -> list[Route]:
    """Routes without authentication; `checks` by the name of what they reach."""

    async def ready(_: Request) -> Response:
        states, notes = await _run(checks)
        good = all(state == "ok" for state in states.values())
        told = {"ready": good, "checks": states} | ({"notes": notes} if notes else {})
        return json_response(told, 200 if good else 503)

    return [
        Route("/healthz", _alive, methods=["GET"]),
        Route("/readyz", ready, methods=["GET"]),
        Route("/metrics", _metrics, methods=["GET"]),
    ]


def operations_app(checks: Mapping[str, Check]) -> Starlette:
    """All that a worker serves."""
    app = Starlette(routes=operations_routes(checks))
    install(app)
    return app


async def _alive(_: Request) -> Response:
    return json_response({"alive": True})


async def _metrics(_: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _run(checks: Mapping[str, Check]) -> tuple[dict[str, str], dict[str, str]]:
    tasks = {name: asyncio.ensure_future(check()) for name, check in checks.items()}
    if tasks:
        _, late = await asyncio.wait(tasks.values(), timeout=CHECK_SECONDS)
        for task in late:
            task.cancel()
    states = {name: _state(name, task) for name, task in tasks.items()}
    told = {name: tasks[name].result() for name, state in states.items() if state == "ok"}
    return states, {name: note for name, note in told.items() if isinstance(note, str)}


def _state(name: str, task: asyncio.Future[object]) -> str:
    if not task.done() or task.cancelled():
        return f"no answer in {CHECK_SECONDS:g} s"
    error = task.exception()
    if error is None:
        return "ok"
    _log.warning("not ready", check=name, error=type(error).__name__)
    # Our own errors are written for people; a stranger's text may hold a password.
    return str(error) if isinstance(error, OutdialError) else type(error).__name__

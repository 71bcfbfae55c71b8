"""The Voice API put together."""

import contextlib
import importlib.metadata
from collections.abc import AsyncIterator, Mapping

from fastapi import FastAPI
from starlette.responses import Response

from outdial.http_common.auth import Authentication
from outdial.http_common.openapi import add_documents, answer, json_content, ref
from outdial.http_common.operations import Check, operations_routes
from outdial.http_common.problems import install
from outdial.http_common.request_metrics import NO_TELEMETRY, RequestMetrics
from outdial.internal_api.answers import NDJSON
from outdial.internal_api.batch import Batches
from outdial.internal_api.calls import KEY_HEADER, Calls
from outdial.internal_api.commits import Commits
from outdial.internal_api.control import Control
from outdial.internal_api.drift import Drifts
from outdial.internal_api.hints import Hints
from outdial.internal_api.openapi import body, problems
from outdial.internal_api.placing import Placing
from outdial.internal_api.reading import Defaults
from outdial.internal_api.schemas import DOCUMENTED
from outdial.internal_api.standing import Standing, Status
from outdial.ports.intake import Intake
from outdial.ports.queue import Queue
from outdial.ports.reconciliation import DriftLog

_DESCRIPTION = """\
Places outbound voice calls. Errors are problem details (RFC 9457) that name every fault.

Scopes of API keys: `calls:write`, `calls:read`, `admin`, which includes the others. A key belongs
to one tenant and sees that tenant's calls only; pauses and the reconciliation are the whole
deployment's.

With an idempotency key, a request that is repeated gives the same call. Bodies are compared as
parsed JSON: spaces and the order of keys make no difference, nor does 1 or 1.0. Keys are shared
between single calls and batches of a tenant and kept for 30 days.
"""

_KEY_PARAMETER = {
    "name": KEY_HEADER,
    "in": "header",
    "required": False,
    "description": "1 to 255 visible ASCII characters.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "pattern": "^[!-~]([ -~]{0,253}[!-~])?$",
    },
}


def create_app(  # noqa: PLR0913 - what it needs, it is given
    intake: Intake,
    authentication: Authentication,
    call_queue: Queue,
    drift: DriftLog,
    *,
    status: Status,
    defaults: Defaults | None = None,
    dial_rate: float = 1.0,
    checks: Mapping[str, Check] | None = None,
) -> FastAPI:
    """The application. `dial_rate` in calls a second; `checks` are what `/readyz` looks at."""
    hints = Hints(intake, call_queue, dial_rate)
    commits = Commits(intake, hints)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await commits.close()
        await hints.close()

    app = FastAPI(
        title="Outdial Voice API",
        version=importlib.metadata.version("outdial"),
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry=NO_TELEMETRY,
    )
    install(app)
    app.add_middleware(RequestMetrics, service="internal-api")
    placing = Placing(intake, commits, defaults or Defaults())
    _add_calls(app, Calls(intake, placing, authentication), Batches(placing, authentication))
    _add_control(app, Control(intake, authentication))
    app.add_api_route(
        "/v1/dialing",
        Standing(status, authentication).show,
        methods=["GET"],
        response_class=Response,
        responses={
            200: answer("How dialing stands.", json_content(ref("DialingStatus"))),
            **problems(),
        },
    )
    app.add_api_route(
        "/v1/reconciliation",
        Drifts(drift, authentication).report,
        methods=["GET"],
        response_class=Response,
        responses={
            200: answer("The drift report.", json_content(ref("DriftReport"))),
            **problems(),
        },
    )
    app.router.routes.extend(operations_routes(checks or {}))
    add_documents(app, DOCUMENTED)
    return app


def _add_calls(app: FastAPI, calls: Calls, batches: Batches) -> None:
    call = json_content(ref("Call"))
    app.add_api_route(
        "/v1/calls",
        calls.place,
        methods=["POST"],
        status_code=202,
        response_class=Response,
        responses={
            202: answer(
                "The call is durable.",
                json_content(ref("Placed")),
                {
                    "Location": "Where the call is shown.",
                    "Idempotency-Replayed": "`true` where an earlier request placed the call.",
                },
            ),
            **problems(400, 413, 415, 422),
        },
        openapi_extra={
            **body(json_content(ref("CallRequest"))),
            "parameters": [_KEY_PARAMETER],
        },
    )
    entries = {"type": "array", "items": ref("BatchAnswer")}
    app.add_api_route(
        "/v1/calls/batch",
        batches.place,
        methods=["POST"],
        response_class=Response,
        responses={
            200: answer(
                "An answer a call, in order, each after its commit; NDJSON for NDJSON.",
                json_content(entries) | json_content({"type": "string"}, NDJSON),
            ),
            **problems(400, 413, 415, 422),
        },
        description="Place many calls, an answer each in their order, each after its commit. A "
        f"repeated batch dials again unless its lines have an `idempotency_key`: the header "
        f"`{KEY_HEADER}`, which is for single calls, is refused here (422).",
        openapi_extra=body(
            json_content({"type": "array", "items": ref("BatchLine")})
            | json_content({"type": "string"}, NDJSON)
        ),
    )
    app.add_api_route(
        "/v1/calls",
        calls.list,
        methods=["GET"],
        response_class=Response,
        responses={
            200: answer("A page.", json_content(ref("CallList"))),
            **problems(422),
        },
    )
    app.add_api_route(
        "/v1/calls/{call_id}",
        calls.show,
        methods=["GET"],
        response_class=Response,
        responses={200: answer("The call.", call), **problems(404, 422)},
    )
    app.add_api_route(
        "/v1/calls/{call_id}/cancel",
        calls.cancel,
        methods=["POST"],
        response_class=Response,
        responses={
            200: answer("The call is cancelled.", call),
            **problems(404, 409, 422),
        },
    )


def _add_control(app: FastAPI, control: Control) -> None:
    pauses = answer("The pauses in force.", json_content(ref("PauseList")))
    asked = body(json_content(ref("PauseRequest")), required=False)
    for path, route in (("/v1/pause", control.pause), ("/v1/resume", control.resume)):
        app.add_api_route(
            path,
            route,
            methods=["POST"],
            response_class=Response,
            responses={200: pauses, **problems(400, 413, 415, 422)},
            openapi_extra=asked,
        )
    app.add_api_route(
        "/v1/pauses",
        control.pauses,
        methods=["GET"],
        response_class=Response,
        responses={200: pauses, **problems()},
    )

"""The warehouse's rows as digests: for `outdial audit`, which can't open a file this process has.

Digests only: an administrator's key is of one tenant, the rows are everybody's.
"""

from collections.abc import Sequence

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from outdial.analytics.digests import WarehouseDigests
from outdial.http_common.auth import Authentication
from outdial.http_common.bodies import json_response, read_json
from outdial.http_common.problems import Problem, ProblemError
from outdial.ports.audit import WarehouseRow
from outdial.ports.keys import Scope
from outdial.ports.warehouse import Warehouse
from outdial.web_api.answers import JSON
from outdial.web_api.description import answers

#: Calls asked for by id at once.
_MOST = 1_000


def digest_routes(warehouse: Warehouse, authentication: Authentication) -> APIRouter:
    """`POST /v1/warehouse/digests`."""
    router = APIRouter(prefix="/v1/warehouse", tags=["warehouse"], default_response_class=Response)
    digests = WarehouseDigests(warehouse)

    @router.post("/digests", responses=answers(JSON, also=(400, 413, 415)), openapi_extra=_BODY)
    async def rows(request: Request) -> Response:
        """What rows the warehouse has, each with its digest; scope `admin`.

        `{"after", "last"}` (call ids; `last` null: to the end) or `{"call_ids"}` →
        `{"rows": [[table, call id, id, version, digest]]}`.
        """
        await authentication.caller(request, Scope.ADMIN)
        asked = await read_json(request)
        return json_response({"rows": [_row(row) for row in await _found(digests, asked)]})

    return router


_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "after": {"type": "string"},
                        "last": {"type": ["string", "null"]},
                        "call_ids": {
                            "type": "array",
                            "items": {"type": "string"},
                            "maxItems": _MOST,
                        },
                    },
                }
            }
        },
    }
}


async def _found(digests: WarehouseDigests, asked: object) -> Sequence[WarehouseRow]:
    if isinstance(asked, dict):
        match asked:
            case {"after": str(after), "last": (str() | None) as last}:
                return await digests.between(after, last)
            case {"call_ids": list(ids)} if len(ids) <= _MOST and all(
                isinstance(one, str) for one in ids
            ):
                return await digests.of_calls(ids)
    told = f"the body must be `after` and `last`, or up to {_MOST} `call_ids`"
    raise ProblemError(Problem(400, told))


def _row(row: WarehouseRow) -> list[str | int]:
    return [row.kind, row.call_id, row.id, row.version, row.digest]

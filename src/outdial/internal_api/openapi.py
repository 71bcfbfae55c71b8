"""The OpenAPI document: what FastAPI does not see, as these routes read their own bodies."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from outdial.http_common.problems import MEDIA_TYPE
from outdial.internal_api.schemas import DOCUMENTED

_REF = "#/components/schemas/"

_MEANINGS = {
    400: "The body is not JSON.",
    401: "No API key, or one that is unknown or revoked.",
    403: "The API key lacks the scope.",
    404: "There is no such call for this tenant.",
    409: "The call is under way or has ended.",
    413: "The body is too large.",
    415: "The body is of another media type.",
    422: "The request is not valid; every fault is named.",
    500: "An unexpected error.",
    503: "The database does not answer; nothing was done.",
}


def ref(name: str) -> dict[str, Any]:
    """A reference to a schema."""
    return {"$ref": f"{_REF}{name}"}


def json_content(schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    """Content of one media type."""
    return {media_type: {"schema": schema}}


def answer(
    description: str, content: dict[str, Any], headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """A response; `headers` by name with their description."""
    response: dict[str, Any] = {"description": description, "content": content}
    if headers:
        response["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in headers.items()
        }
    return response


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses for these statuses, and for those that every route may give."""
    return {
        status: answer(_MEANINGS[status], json_content(ref("Problem"), MEDIA_TYPE))
        for status in sorted({*statuses, 401, 403, 500, 503})
    }


def body(content: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    """A request body."""
    return {"requestBody": {"required": required, "content": content}}


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document of `app`."""
    made = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _, found = models_json_schema(
        [(model, "validation") for model in DOCUMENTED], ref_template=_REF + "{model}"
    )
    schemas |= found["$defs"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{"key": []}]
    return made

"""The OpenAPI document of a service whose routes read their own requests, and its page."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from outdial.http_common.bodies import json_response
from outdial.http_common.docs_page import docs_page
from outdial.http_common.problems import MEDIA_TYPE

_REF = "#/components/schemas/"


class Fault(BaseModel):
    """One thing wrong with a request."""

    pointer: str = Field(
        description="`#/field` in the body (JSON pointer), `?name` of a query parameter, or the "
        "name of a header."
    )
    detail: str


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] = Field(default=[], description="Every fault, where there are several.")


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


def problems(meanings: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Responses that are problem details, by status with their meaning."""
    return {
        status: answer(meanings[status], json_content(ref(Problem.__name__), MEDIA_TYPE))
        for status in sorted(meanings)
    }


def add_documents(app: FastAPI, models: Iterable[type[BaseModel]] = ()) -> None:
    """Serve `/openapi.json` and `/docs`. `models`: named without a route declaring them."""
    named: list[type[BaseModel]] = [Problem, *models]
    made: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not made:
            made.update(_document(app, named))
        return made

    async def as_json(_: Request) -> Response:
        return json_response(document())

    async def as_page(_: Request) -> Response:
        return docs_page(document())

    app.openapi = document  # type: ignore[method-assign]
    app.add_route("/openapi.json", as_json, include_in_schema=False)
    app.add_route("/docs", as_page, include_in_schema=False)


def _document(app: FastAPI, models: Iterable[type[BaseModel]]) -> dict[str, Any]:
    made = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _, found = models_json_schema(
        [(model, "validation") for model in models], ref_template=_REF + "{model}"
    )
    schemas |= found["$defs"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{"key": []}]
    return made

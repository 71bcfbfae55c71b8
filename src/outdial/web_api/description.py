"""Parameters and answers as OpenAPI describes them, made from the definitions themselves."""

from typing import Any

from outdial.analytics.dimensions import DIMENSIONS, FILTERS, INTERVALS
from outdial.analytics.metrics import METRICS
from outdial.http_common.openapi import answer, json_content, problems

_TEXT = {"type": "string"}
_MEANINGS = {
    400: "The body is not what is asked for.",
    401: "No API key, or one that is unknown or revoked.",
    403: "The API key lacks the scope.",
    404: "There is no such call for this tenant.",
    406: "None of the media types that are accepted can be had.",
    409: "The loader runs in another process.",
    413: "The body is over 1 MB.",
    415: "The body is not JSON.",
    422: "The question is not valid; every wrong parameter is named, also one that is given twice.",
    500: "An unexpected error.",
    503: "The warehouse does not answer.",
}
#: What a route that takes a question may answer beside what every route may.
ASKED = (406, 422)
_OWN: dict[str, tuple[str, dict[str, Any]]] = {
    "metrics": (f"Names separated by commas: {', '.join(METRICS)}.", _TEXT),
    "by": (f"Dimensions separated by commas: {', '.join(DIMENSIONS)}.", _TEXT),
    "dimensions": (f"Dimensions separated by commas: {', '.join(DIMENSIONS)}.", _TEXT),
    "interval": ("Step of the series.", {"type": "string", "enum": list(INTERVALS)}),
    "sort": ("A column; with a `-` before it, falling.", _TEXT),
    "limit": ("Rows at most.", {"type": "integer", "minimum": 1}),
    "cursor": ("`next_cursor` of the page before.", _TEXT),
}
_SHARED: dict[str, tuple[str, dict[str, Any]]] = {
    "from": ("From this time (RFC 3339) or date on.", _TEXT),
    "to": ("Before this time; a date is included.", _TEXT),
    "tz": ("IANA time zone of dates, days and hours.", {"type": "string", "default": "UTC"}),
    "format": ("Instead of the Accept header: `json`, `csv`, and for rows `parquet`.", _TEXT),
    **{name: (each.meaning, {"type": "array", "items": _TEXT}) for name, each in FILTERS.items()},
}


def description(*own: str) -> dict[str, Any]:
    """`openapi_extra` of a route that takes the shared parameters and its `own`."""
    parameters = {name: _OWN[name] for name in own if name in _OWN} | _SHARED
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": text,
                "schema": schema,
            }
            for name, (text, schema) in parameters.items()
        ]
    }


def answers(*media_types: str, also: tuple[int, ...] = ()) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route: the answer in each of `media_types`, and the problems.

    `also`: statuses beside those that every route may give.
    """
    content: dict[str, Any] = {}
    for media_type in media_types:
        kind = "object" if media_type.endswith("/json") else "string"
        content |= json_content({"type": kind}, media_type)
    statuses = (*also, 401, 403, 500, 503)
    return {
        200: answer("The answer.", content),
        **problems({status: _MEANINGS[status] for status in statuses}),
    }

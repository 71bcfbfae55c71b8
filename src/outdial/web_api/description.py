"""The query parameters as OpenAPI describes them, made from the definitions themselves."""

from typing import Any

from outdial.analytics.dimensions import DIMENSIONS, FILTERS, INTERVALS
from outdial.analytics.metrics import METRICS

_TEXT = {"type": "string"}
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

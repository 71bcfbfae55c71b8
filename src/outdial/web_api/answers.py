"""Answers as JSON or CSV, and what every answer says of itself.

CSV is for spreadsheets, and its texts come from strangers (summaries, campaigns, references): a
text that a spreadsheet would run as a formula gets an apostrophe before it. Phone numbers keep
their plus sign, for `+14155550123` computes nothing.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from outdial.analytics.questions import Filters
from outdial.core.times import to_rfc3339
from outdial.http_common.bodies import json_response
from outdial.http_common.problems import Fault, Problem, ProblemError, invalid

JSON = "application/json"
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
AS_OF_HEADER = "Outdial-As-Of"

_FORMATS = {"json": JSON, "csv": CSV, "parquet": PARQUET}
_FORMULA = re.compile(r"[=+\-@\t\r\n|%]")
_PHONE = re.compile(r"\+[0-9]{3,15}")


def negotiate(request: Request, *offered: str) -> str:
    """The media type to answer with: `format` decides, else the Accept header.

    406 where neither can be had; of equals the first offered is taken.
    """
    named = request.query_params.get("format")
    if named is not None:
        chosen = _FORMATS.get(named)
        if chosen not in offered:
            words = [word for word, media in _FORMATS.items() if media in offered]
            raise ProblemError(invalid([Fault("?format", f"must be one of {', '.join(words)}")]))
        return chosen
    accepted = _accepted(request.headers.get("accept", "*/*"))
    best = max(offered, key=lambda media: _quality(media, accepted))
    if _quality(best, accepted) <= 0:
        raise ProblemError(Problem(406, f"available as {', '.join(offered)}"))
    return best


def moment(at: int | None) -> str | None:
    """A time as RFC 3339; None also for what no calendar holds."""
    try:
        return None if at is None else to_rfc3339(at)
    except OverflowError:
        return None


def about(as_of: int | None, filters: Filters) -> dict[str, Any]:
    """What every answer begins with."""
    return {
        "as_of": moment(as_of),
        "from": moment(filters.start),
        "to": moment(filters.end),
        "tz": filters.tz,
    }


def as_of_headers(as_of: int | None) -> dict[str, str]:
    """Freshness, where the body has no place for it."""
    fresh = moment(as_of)
    return {AS_OF_HEADER: fresh} if fresh else {}


def answer(
    media: str,
    as_of: int | None,
    body: Mapping[str, Any],
    table: tuple[Sequence[str], Iterable[Sequence[Any]]],
) -> Response:
    """`body` as JSON, or `table` (header and rows) as CSV."""
    headers = as_of_headers(as_of) | {"Vary": "Accept"}
    if media == CSV:
        header, rows = table
        return Response(csv_text([header, *rows]), headers=headers, media_type=CSV)
    return json_response(body, headers=headers)


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV (RFC 4180): CRLF, quoted where needed, nulls empty, formulas disarmed."""
    out = io.StringIO()
    csv.writer(out).writerows([csv_cell(value) for value in row] for row in rows)
    return out.getvalue()


def csv_cell(value: object) -> object:
    """One value as a spreadsheet may safely read it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and _FORMULA.match(value) and not _PHONE.fullmatch(value):
        return f"'{value}"
    return value


def _accepted(header: str) -> dict[str, float]:
    accepted: dict[str, float] = {}
    for part in header.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                quality = _number(parameter[2:])
        accepted[media] = quality
    return accepted


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _quality(media: str, accepted: Mapping[str, float]) -> float:
    kind = media.partition("/")[0]
    for pattern in (media, f"{kind}/*", "*/*"):
        if pattern in accepted:
            return accepted[pattern]
    return 0.0

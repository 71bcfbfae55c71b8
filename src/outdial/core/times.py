"""Times: integer milliseconds since the epoch inside, RFC 3339 text in UTC at the edges."""

import re
from datetime import UTC, datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
#: `datetime.fromisoformat` takes all of ISO 8601; RFC 3339 always has an offset, for one.
_FORM = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d+))?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<hours>[01]\d|2[0-3]):(?P<minutes>[0-5]\d))",
    re.ASCII,
)


def to_rfc3339(at_ms: int) -> str:
    """`2026-11-22T16:00:00.000Z`; `OverflowError` outside the years 1 to 9999."""
    text = (_EPOCH + at_ms * _MILLISECOND).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def parse_rfc3339(text: str) -> int:
    """Milliseconds since the epoch; what is finer is cut off.

    Raises `ValueError` with one clear line for anything else than RFC 3339 with an offset, for a
    day that does not exist, for a leap second, and outside the years 1 to 9999 in UTC.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        msg = "not a time of RFC 3339, such as 2026-11-22T16:00:00Z"
        raise ValueError(msg)
    offset = timedelta(hours=int(match["hours"] or 0), minutes=int(match["minutes"] or 0))
    zone = timezone(-offset if match["sign"] == "-" else offset)
    fraction = (match["fraction"] or "")[:3].ljust(3, "0")
    try:
        whole = datetime.fromisoformat(f"{match['date']}T{match['time']}").replace(tzinfo=zone)
        return (whole.astimezone(UTC) - _EPOCH) // _MILLISECOND + int(fraction)
    except (ValueError, OverflowError) as error:
        msg = f"no such time: {error}"
        raise ValueError(msg) from None

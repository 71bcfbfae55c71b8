"""Dates and times of a contact file, to RFC 3339."""

import re
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from outdial.contacts.errors import UnusableRowError

_LOCAL = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?")


@lru_cache(maxsize=512)
def zone(name: str) -> ZoneInfo:
    """The IANA time zone `name`; `UnusableRowError` where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnusableRowError(
            f"“{name}” is not an IANA time zone such as Europe/Berlin or America/New_York"
        ) from None


def normalise(field: str, cell: str, time_zone: str | None) -> str:
    """RFC 3339 of a time with an offset, or of local time in the row's time zone."""
    text = cell.strip()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UnusableRowError(
            f"{field}: “{text}” is not a time: write 2026-11-22 16:00 or 2026-11-22T16:00:00Z"
        ) from None
    if moment.tzinfo is not None:
        return moment.isoformat()
    if not _LOCAL.fullmatch(text):
        raise UnusableRowError(f"{field}: “{text}” is not a time: write 2026-11-22 16:00")
    if time_zone is None:
        raise UnusableRowError(
            f"{field}: “{text}” says no time zone: add an offset (2026-11-22T16:00:00-05:00), "
            f"a column time_zone, or --time-zone"
        )
    return moment.replace(tzinfo=zone(time_zone)).isoformat()

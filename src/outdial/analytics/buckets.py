"""The steps of a time series, so that a quiet hour is a zero and not a gap."""

import zoneinfo
from datetime import UTC, date, datetime, timedelta

#: More steps than this are no chart any more.
MOST_BUCKETS = 10_000

_SPANS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1)}
_FORMATS = {"minute": "%Y-%m-%dT%H:%M", "hour": "%Y-%m-%dT%H:00"}


class TooManyBucketsError(Exception):
    """The time asked for has too many steps of this length."""


def buckets(interval: str, first: int, last: int, tz: zoneinfo.ZoneInfo) -> list[str]:
    """All steps from the one that holds `first` to the one of `last` (ms).

    They are named as the dimension of that name writes them.

    Raises `TooManyBucketsError`.
    """
    if interval in _SPANS:
        return _short(interval, first, last, tz)
    start = _floor(interval, _local(first, tz).date())
    end = _local(last, tz).date()
    found = []
    while start <= end:
        found.append(start.isoformat())
        start = _next(interval, start)
        if len(found) > MOST_BUCKETS:
            raise TooManyBucketsError
    return found


def _short(interval: str, first: int, last: int, tz: zoneinfo.ZoneInfo) -> list[str]:
    span = _SPANS[interval]
    if (last - first) / 1000 > MOST_BUCKETS * span.total_seconds():
        raise TooManyBucketsError
    # Walked in UTC: a clock change must neither invent an hour nor count one twice. Quarters,
    # because some zones are off by 30 or 45 minutes.
    step = min(span, timedelta(minutes=15))
    at = datetime.fromtimestamp(first / 1000, UTC)
    end = datetime.fromtimestamp(last / 1000, UTC)
    found: dict[str, None] = {}
    while at <= end:
        found[at.astimezone(tz).strftime(_FORMATS[interval])] = None
        at += step
    found[end.astimezone(tz).strftime(_FORMATS[interval])] = None
    return list(found)


def _local(at: int, tz: zoneinfo.ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at / 1000, tz)


def _floor(interval: str, day: date) -> date:
    if interval == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval == "month" else day


def _next(interval: str, start: date) -> date:
    if interval == "month":
        return (start + timedelta(days=32)).replace(day=1)
    return start + timedelta(days=7 if interval == "week" else 1)

"""Numbers and times as people read them."""

import zoneinfo
from datetime import UTC, datetime

NONE = "–"  # noqa: RUF001 - the dash that stands for nothing


def count(value: float | None) -> str:
    """`12,345`."""
    return NONE if value is None else f"{value:,.0f}"


def percent(value: float | None) -> str:
    """`79.6%`; whole where the first decimal says nothing."""
    if value is None:
        return NONE
    text = f"{value * 100:.1f}"
    return f"{text.removesuffix('.0')}%"


def duration(ms: float | None) -> str:
    """`840 ms`, `4.2 s`, `1m 02s`, `2h 05m`, `3d 4h`."""
    if ms is None:
        return NONE
    if ms < 1_000:
        return f"{ms:.0f} ms"
    if ms < 10_000:
        return f"{ms / 1000:.1f} s"
    seconds = round(ms / 1000)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m {seconds:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h {minutes:02}m"
    days, hours = divmod(hours, 24)
    return f"{days:,}d {hours}h"


def money(usd: float | None) -> str:
    """`$1,234.50`; small amounts to a tenth of a cent."""
    if usd is None:
        return NONE
    return f"${usd:,.3f}" if 0 < usd < 1 else f"${usd:,.2f}"


def words(name: str | None) -> str:
    """`no_answer` as `No answer`; unknown names alike."""
    if not name:
        return NONE
    spoken = name.replace("_", " ").strip()
    return spoken[:1].upper() + spoken[1:]


def clock(at: int | None, tz: str, form: str = "%d %b %Y, %H:%M:%S") -> str:
    """A time (ms) on the clock of a time zone."""
    if at is None:
        return NONE
    try:
        return (
            datetime.fromtimestamp(at / 1000, UTC).astimezone(zoneinfo.ZoneInfo(tz)).strftime(form)
        )
    except (OverflowError, ValueError, OSError):
        return NONE

"""What a question may say in its query string, read with every fault named.

`from` and `to` are times (RFC 3339) or dates in `tz`; a `to` that is a date includes that day.
Filters may be repeated: any of the values will do; an empty value stands for rows without one.
Metrics and dimensions may be repeated too; whatever has one value is refused where it has two.
"""

import zoneinfo
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

from starlette.datastructures import QueryParams

from outdial.analytics.dimensions import DIMENSIONS, FILTERS
from outdial.analytics.metrics import METRICS, Grain
from outdial.analytics.questions import Filters
from outdial.core.call import AttemptStatus, CallStatus
from outdial.core.outcome import Outcome
from outdial.core.times import parse_rfc3339
from outdial.http_common.problems import Fault, ProblemError, invalid

#: No day follows the last one: the first ms of the year 10000, UTC.
_END_OF_TIME = 253_402_300_800_000

SHARED = ("from", "to", "tz", "format", *FILTERS)
#: These may be given several times: all that they name counts.
_LISTS = {"metrics", "by", "dimension", "dimensions", *FILTERS}
#: A status that rows of this grain can have; metrics count rows of both.
_STATUSES: dict[Grain | None, tuple[str, ...]] = {
    Grain.CALL: tuple(CallStatus),
    Grain.ATTEMPT: tuple(AttemptStatus),
    None: tuple(dict.fromkeys((*map(str, CallStatus), *map(str, AttemptStatus)))),
}


class Parameters:
    """Reads a query string; `done` raises the 422 with all that was wrong with it."""

    def __init__(self, query: QueryParams, *own: str) -> None:
        """`own`: parameters of this question beside the shared ones."""
        self._query = query
        self._faults: list[Fault] = []
        known = {*SHARED, *own}
        for name in dict.fromkeys(query.keys()):
            if name not in known:
                self._fault(name, f"is not known here; known are {', '.join(sorted(known))}")
            elif name not in _LISTS and len(query.getlist(name)) > 1:
                # Which of them counts is a guess, and the answer would not say which was taken.
                self._fault(name, "may be given once")

    def filters(self, grain: Grain | None = None) -> Filters:
        """The shared filters. `grain`: of the rows, where the answer is rows."""
        tz = self._zone()
        start = self._moment("from", tz, end=False)
        end = self._moment("to", tz, end=True)
        if start is not None and end is not None and end <= start:
            self._fault("to", "must be later than from")
        equal = {
            name: tuple(dict.fromkeys(self._query.getlist(name)))
            for name in FILTERS
            if name in self._query
        }
        for name, known in (("outcome", tuple(Outcome)), ("status", _STATUSES[grain])):
            # Empty for ever, a word that no row can have would look like an answer.
            for value in equal.get(name, ()):
                if value and value not in known:
                    words = f"{value[:60]!r} is none; must be one of {', '.join(known)}"
                    self._fault(name, words)
        return Filters(start, end, tz.key, equal)

    def metrics(self, default: Sequence[str]) -> tuple[str, ...]:
        """`metrics`: names separated by commas."""
        return self._names(("metrics",), METRICS, default, "metric")

    def dimensions(self, names: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
        """Dimensions, under any of these parameter names, separated by commas."""
        return self._names(names, DIMENSIONS, default, "dimension")

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """One of several words."""
        value = self._query.get(name, default)
        if value not in choices:
            self._fault(name, f"must be one of {', '.join(choices)}")
            return default
        return value

    def whole(self, name: str, default: int, most: int) -> int:
        """A whole number from 1 to `most`."""
        text = self._query.get(name)
        if text is None:
            return default
        # int() is more generous than an API should be: it takes 1_000, and digits of any script.
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0
        if not 1 <= number <= most:
            self._fault(name, f"must be a whole number from 1 to {most}")
            return default
        return number

    def refuse(self, name: str, detail: str) -> None:
        """Refuse a parameter that would be without effect, where it is given."""
        if name in self._query:
            self._fault(name, detail)

    def text(self, name: str) -> str | None:
        """Any text."""
        return self._query.get(name)

    def sort(self, columns: Iterable[str], default: str | None) -> tuple[str, bool] | None:
        """`sort`: a column, falling with a `-` before it; the column, and whether it falls."""
        value = self._query.get("sort", default)
        if value is None:
            return None
        column = value.removeprefix("-")
        known = list(columns)
        if column not in known:
            self._fault("sort", f"must be one of {', '.join(known)}, with a - before it to fall")
        return column, value.startswith("-")

    def done(self) -> None:
        """Raise the 422 where something was wrong."""
        if self._faults:
            raise ProblemError(invalid(self._faults))

    def _fault(self, name: str, detail: str) -> None:
        self._faults.append(Fault(f"?{name[:100]}", detail))

    def _zone(self) -> zoneinfo.ZoneInfo:
        name = self._query.get("tz", "UTC")
        # `localtime` is whatever the machine thinks; the warehouse may think otherwise.
        if name in zoneinfo.available_timezones() and name != "localtime":
            return zoneinfo.ZoneInfo(name)
        self._fault("tz", "must be an IANA time zone, such as Europe/Berlin")
        return zoneinfo.ZoneInfo("UTC")

    def _moment(self, name: str, tz: zoneinfo.ZoneInfo, *, end: bool) -> int | None:
        text = self._query.get(name)
        if text is None:
            return None
        try:
            if len(text) == len("2026-11-22"):
                day = date.fromisoformat(text)
                return end_of(day, tz) if end else start_of(day, tz)
            # A plus sign in a query string that was not encoded arrives as a space.
            return parse_rfc3339(text.replace(" ", "+"))
        except (ValueError, OverflowError):
            self._fault(
                name, f"must be a date ({date(2026, 11, 22)}) or a time (2026-11-22T16:00:00Z)"
            )
            return None

    def _names(
        self, parameters: Sequence[str], known: Iterable[str], default: Sequence[str], kind: str
    ) -> tuple[str, ...]:
        given = [name for name in parameters if name in self._query]
        if not given:
            return tuple(default)
        for name in given[1:]:
            self._fault(name, f"means the same as {given[0]}; give one of them")
        texts = self._query.getlist(given[0])
        names = dict.fromkeys(part.strip() for text in texts for part in text.split(","))
        known = list(known)
        unknown = [name for name in names if name not in known]
        for name in unknown:
            self._fault(given[0], f"{name[:60]!r} is not a {kind}; known are {', '.join(known)}")
        return tuple(name for name in names if name not in unknown)


def start_of(day: date, tz: zoneinfo.ZoneInfo) -> int:
    """The first ms of a day in a time zone."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=tz)
    return int(midnight.astimezone(UTC).timestamp()) * 1000


def end_of(day: date, tz: zoneinfo.ZoneInfo) -> int:
    """The first ms after a day in a time zone."""
    return _END_OF_TIME if day == date.max else start_of(day + timedelta(days=1), tz)

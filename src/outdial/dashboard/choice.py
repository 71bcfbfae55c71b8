"""What the page was asked to show, read from its URL; what makes no sense is left out and told.

The URL is the state: a view can be bookmarked and sent to a colleague.
"""

import zoneinfo
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

from starlette.requests import Request

from outdial.analytics.questions import Filters
from outdial.web_api.parameters import end_of, start_of

TZ_COOKIE = "outdial_tz"
#: Periods offered, with their days; None is all of it.
PERIODS: dict[str, tuple[str, int | None]] = {
    "today": ("Today", 1),
    "7d": ("7 days", 7),
    "30d": ("30 days", 30),
    "all": ("All time", None),
}
_DEFAULT = "30d"
_FIRST_YEAR = 1970
#: Filters of the page, with their labels.
SELECTS = {"agent_id": "Agent", "campaign": "Campaign", "outcome": "Outcome"}


@dataclass(frozen=True, slots=True)
class Choice:
    """Period (a name of `PERIODS`, or `custom`), its days, time zone and filters.

    `faults`: lines for a person about dates that were left out.
    """

    period: str
    first: date | None
    last: date | None
    tz: str
    selected: dict[str, str]
    cursor: str | None
    faults: tuple[str, ...] = ()

    @property
    def filters(self) -> Filters:
        """As the questions take them."""
        zone = zoneinfo.ZoneInfo(self.tz)
        return Filters(
            None if self.first is None else start_of(self.first, zone),
            None if self.last is None else end_of(self.last, zone),
            self.tz,
            {name: (value,) for name, value in self.selected.items()},
        )

    def url(self, **changes: str | None) -> str:
        """The page's URL with changes; None takes a parameter out."""
        parameters: dict[str, str | None] = dict(self.selected)
        if self.period == "custom":
            parameters |= {"from": _text(self.first), "to": _text(self.last)}
        elif self.period != _DEFAULT:
            parameters["period"] = self.period
        parameters |= changes
        query = urlencode({name: value for name, value in parameters.items() if value})
        return f"/?{query}" if query else "/"

    def period_url(self, period: str) -> str:
        """The same view over another period."""
        return self.url(**{"from": None, "to": None, "period": period})

    def api_query(self) -> str:
        """The same question to the analytics API."""
        parameters = dict(self.selected) | {"tz": self.tz}
        if self.first is not None:
            parameters["from"] = self.first.isoformat()
        if self.last is not None:
            parameters["to"] = self.last.isoformat()
        return urlencode(parameters)


def read(request: Request, now: datetime | None = None) -> Choice:
    """The choice of a request. `now` is for tests."""
    query = request.query_params
    tz = _zone(query.get("tz"), request.cookies.get(TZ_COOKIE))
    faults: list[str] = []
    first, last = _day(query.get("from"), faults), _day(query.get("to"), faults)
    selected = {name: query[name] for name in SELECTS if query.get(name)}
    period = query.get("period", _DEFAULT)
    if first is not None or last is not None:
        if first is not None and last is not None and last < first:
            first, last = last, first
        period = "custom"
    else:
        period = period if period in PERIODS else _DEFAULT
        days = PERIODS[period][1]
        if days is not None:
            today = (now or datetime.now(UTC)).astimezone(zoneinfo.ZoneInfo(tz)).date()
            first, last = today - timedelta(days=days - 1), today
    return Choice(period, first, last, tz, selected, query.get("cursor"), tuple(faults))


def _zone(*names: str | None) -> str:
    for name in names:
        if name and name != "localtime" and name in zoneinfo.available_timezones():
            return name
    return "UTC"


def _day(text: str | None, faults: list[str]) -> date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    # Midnights of the very first years have no UTC time in every zone.
    if day.year < _FIRST_YEAR:
        faults.append(
            f"“{text[:40]}” is no date from {_FIRST_YEAR}-01-01 to {date.max}: it was left out."
        )
        return None
    return day


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()

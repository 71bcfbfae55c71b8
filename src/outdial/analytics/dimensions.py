"""What metrics can be split by and filtered by, each defined once for calls and for attempts.

Times: a call belongs to the moment it was accepted, an attempt to the moment it was submitted;
`local_moment` is that moment on the clock of the time zone asked for.
"""

from dataclasses import dataclass

from outdial.analytics.metrics import Grain


@dataclass(frozen=True, slots=True)
class Dimension:
    """One dimension: its SQL over a call with its latest attempt, and over an attempt.

    `filters`: whether it can be filtered by value; values are compared as text.
    """

    name: str
    title: str
    meaning: str
    call: str
    attempt: str
    filters: bool = True

    def sql(self, grain: Grain) -> str:
        """The expression in a query of this grain."""
        return self.call if grain is Grain.CALL else self.attempt


def _moment(name: str, title: str, meaning: str, pattern: str) -> Dimension:
    return Dimension(
        name,
        title,
        meaning,
        pattern.format("c.local_moment"),
        pattern.format("a.local_moment"),
        filters=False,
    )


_ALL = (
    _moment(
        "month",
        "Month",
        "First day of the month, `2026-11-01`.",
        "strftime(date_trunc('month', {}), '%Y-%m-%d')",
    ),
    _moment(
        "week",
        "Week",
        "Monday of the week, `2026-11-16`.",
        "strftime(date_trunc('week', {}), '%Y-%m-%d')",
    ),
    _moment("day", "Day", "`2026-11-22`.", "strftime(date_trunc('day', {}), '%Y-%m-%d')"),
    _moment(
        "hour",
        "Hour",
        "`2026-11-22T16:00`; the hour that a clock change repeats is one.",
        "strftime(date_trunc('hour', {}), '%Y-%m-%dT%H') || ':00'",
    ),
    _moment(
        "minute",
        "Minute",
        "`2026-11-22T16:01`.",
        "strftime(date_trunc('minute', {}), '%Y-%m-%dT%H:%M')",
    ),
    _moment("hour_of_day", "Hour of day", "0 to 23.", "EXTRACT(hour FROM {})"),
    _moment("weekday", "Weekday", "1 (Monday) to 7 (Sunday).", "EXTRACT(isodow FROM {})"),
    Dimension("campaign", "Campaign", "The label the call was given.", "c.campaign", "a.campaign"),
    Dimension(
        "agent_id",
        "Agent",
        "The agent that called, or was to.",
        "COALESCE(a.agent_id, c.agent_id)",
        "a.agent_id",
    ),
    Dimension(
        "agent_version",
        "Agent version",
        "The agent's version.",
        "COALESCE(a.agent_version, c.agent_version)",
        "a.agent_version",
    ),
    Dimension(
        "from_number",
        "Caller number",
        "The number dialed from.",
        "COALESCE(a.from_number, c.from_number)",
        "a.from_number",
    ),
    Dimension(
        "outcome",
        "Outcome",
        "answered, voicemail, no_answer, busy, declined, failed, error; null until it is known. "
        "A call's is its latest attempt's.",
        "a.outcome",
        "a.outcome",
    ),
    Dimension(
        "disconnection_reason",
        "Disconnection reason",
        "Retell's own word.",
        "a.disconnection_reason",
        "a.disconnection_reason",
    ),
    Dimension(
        "sentiment",
        "Sentiment",
        "Positive, Neutral, Negative, Unknown.",
        "a.user_sentiment",
        "a.user_sentiment",
    ),
    Dimension(
        "status",
        "Status",
        "The call's status for metrics of calls, the attempt's for metrics of attempts.",
        "c.status",
        "a.status",
    ),
    Dimension(
        "reason",
        "Reason",
        "Why a call ended without being placed.",
        "c.reason",
        "CAST(NULL AS VARCHAR)",
    ),
    Dimension(
        "attempt", "Attempt", "Number of the attempt within its call.", "a.number", "a.number"
    ),
)

DIMENSIONS: dict[str, Dimension] = {dimension.name: dimension for dimension in _ALL}

_LOOK_UPS = (
    Dimension("external_id", "Reference", "Your own reference.", "c.external_id", "a.external_id"),
    Dimension(
        "to_number",
        "Number",
        "The number dialed.",
        "COALESCE(a.to_number, c.to_number)",
        "a.to_number",
    ),
)

#: By what rows and metrics can be filtered.
FILTERS: dict[str, Dimension] = {
    dimension.name: dimension for dimension in (*_ALL, *_LOOK_UPS) if dimension.filters
}

#: Steps of a time series.
INTERVALS = ("minute", "hour", "day", "week", "month")

"""Every metric, defined once: its name, what it means, and its SQL.

The SQL is DuckDB's dialect over two relations: `c`, one row a call, and `a`, one row an attempt;
where a call metric speaks of `a`, it is the call's latest attempt. Only exact functions are used,
so that another warehouse gives the same answer. `docs/metrics.md` is made from this module.

Money is added up as decimals: floating-point sums depend on the order of the rows. Means and
percentiles are taken of floating-point numbers, whole ones and so exact: each warehouse has rules
of its own for how many digits those of whole numbers or decimals have.
"""

from dataclasses import dataclass
from enum import StrEnum


class Grain(StrEnum):
    """What a metric counts."""

    CALL = "call"
    ATTEMPT = "attempt"


class Unit(StrEnum):
    """`ratio` is 0 to 1, `ms` are milliseconds, `usd` US dollars."""

    COUNT = "count"
    RATIO = "ratio"
    MS = "ms"
    USD = "usd"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `sql` is an aggregate; `empty` is its value where there is no row at all."""

    name: str
    title: str
    meaning: str
    unit: Unit
    grain: Grain
    sql: str
    empty: int | None = None


def _number(condition: str) -> str:
    return f"COUNT(CASE WHEN {condition} THEN 1 END)"


def _ratio(part: str, base: str) -> str:
    return f"{_number(part)} / NULLIF(CAST({_number(base)} AS DOUBLE), 0)"


def _percentile(value: str, share: float) -> str:
    order = f"ORDER BY CAST({value} AS DOUBLE)"
    return f"CAST(ROUND(PERCENTILE_CONT({share}) WITHIN GROUP ({order})) AS BIGINT)"


def _money(value: str) -> str:
    return f"CAST(COALESCE(SUM(CAST({value} AS DECIMAL(18, 6))), 0) AS DOUBLE)"


_COMPLETED = "a.status = 'completed'"
_ENDED = "a.status IN ('completed', 'failed', 'lost')"
#: Without an outcome yet. Deferred and refused attempts never rang and never will.
_OPEN = "a.status IN ('claimed', 'unknown', 'initiated', 'started')"
_CONNECTED = "a.connected"
_SUCCESSFUL = f"{_COMPLETED} AND a.call_successful"
_JUDGED_MOOD = "a.user_sentiment IN ('Positive', 'Neutral', 'Negative')"
_CALL_ENDED = "c.status IN ('completed', 'failed', 'cancelled', 'expired', 'rejected')"
#: When the call could be dialed at the earliest.
_DUE = "GREATEST(c.created_at, COALESCE(c.not_before, 0))"

#: Intervals, each an expression that is null where the attempt has not come that far, or where
#: the clocks of two machines disagree.
TALK_MS = f"CASE WHEN {_COMPLETED} THEN a.duration_ms END"
RING_MS = "CASE WHEN a.started_at >= a.initiated_at THEN a.started_at - a.initiated_at END"
WAIT_MS = f"CASE WHEN a.submitted_at >= {_DUE} THEN a.submitted_at - {_DUE} END"
ANALYSIS_MS = "CASE WHEN a.analyzed_at >= a.ended_at THEN a.analyzed_at - a.ended_at END"
WHOLE_MS = f"CASE WHEN a.analyzed_at >= {_DUE} THEN a.analyzed_at - {_DUE} END"


def _calls(name: str, title: str, meaning: str, condition: str | None = None) -> Metric:
    sql = "COUNT(*)" if condition is None else _number(condition)
    return Metric(name, title, meaning, Unit.COUNT, Grain.CALL, sql, empty=0)


def _attempts(name: str, title: str, meaning: str, condition: str | None = None) -> Metric:
    sql = "COUNT(*)" if condition is None else _number(condition)
    return Metric(name, title, meaning, Unit.COUNT, Grain.ATTEMPT, sql, empty=0)


def _rate(name: str, title: str, meaning: str, part: str, base: str) -> Metric:
    return Metric(name, title, meaning, Unit.RATIO, Grain.ATTEMPT, _ratio(part, base))


def _time(name: str, title: str, meaning: str, sql: str, grain: Grain = Grain.ATTEMPT) -> Metric:
    return Metric(name, title, meaning, Unit.MS, grain, sql)


_ALL = (
    _calls("calls", "Calls", "Calls accepted."),
    _attempts("attempts", "Attempts", "Submissions to Retell, refused and deferred ones included."),
    _attempts("dialed", "Dialed", "Attempts that Retell took on.", "a.initiated_at IS NOT NULL"),
    _attempts(
        "connected",
        "Connected",
        "Attempts that somebody or something picked up: a person, a voicemail, a menu.",
        _CONNECTED,
    ),
    _attempts("completed", "Completed", "Attempts that connected and ended.", _COMPLETED),
    _attempts(
        "failed", "Not connected", "Attempts that ended without connecting.", "a.status = 'failed'"
    ),
    _attempts(
        "lost",
        "Lost sight of",
        "Attempts concluded without Retell's word; provisional.",
        "a.status = 'lost'",
    ),
    _attempts(
        "ended",
        "Ended",
        "Attempts that came to an end: completed, not connected or lost sight of.",
        _ENDED,
    ),
    _attempts(
        "open",
        "Under way",
        "Attempts without an end yet: claimed, unknown, initiated or started.",
        _OPEN,
    ),
    _attempts(
        "placed",
        "Placed",
        "Attempts under way or ended: all but deferred (429) and refused ones, where nothing rang.",
        f"{_OPEN} OR {_ENDED}",
    ),
    _attempts(
        "deferred",
        "Deferred",
        "Attempts that Retell put off (429); nothing rang, and the call waits for its next one.",
        "a.status = 'deferred'",
    ),
    _attempts(
        "refused",
        "Refused",
        "Attempts that Retell refused; nothing rang.",
        "a.status = 'refused'",
    ),
    _attempts("answered", "Answered", "Attempts that a person answered.", "a.outcome = 'answered'"),
    _attempts(
        "voicemail", "Voicemail", "Attempts that reached a voicemail.", "a.outcome = 'voicemail'"
    ),
    _attempts("no_answer", "No answer", "Attempts that rang out.", "a.outcome = 'no_answer'"),
    _attempts("busy", "Busy", "Attempts that found the line busy.", "a.outcome = 'busy'"),
    _attempts("declined", "Declined", "Attempts that were turned down.", "a.outcome = 'declined'"),
    _attempts(
        "unreachable",
        "Unreachable",
        "Attempts with outcome `failed`: the number or the carrier could not be reached.",
        "a.outcome = 'failed'",
    ),
    _attempts("errors", "Errors", "Attempts that the platform broke off.", "a.outcome = 'error'"),
    _attempts(
        "successful",
        "Successful",
        "Completed attempts whose analysis says that the call reached its goal.",
        _SUCCESSFUL,
    ),
    _rate(
        "connect_rate",
        "Connect rate",
        "Connected attempts among ended ones.",
        f"{_ENDED} AND {_CONNECTED}",
        _ENDED,
    ),
    _rate(
        "answer_rate",
        "Answer rate",
        "Attempts that a person answered (outcome `answered`) among ended ones.",
        f"{_ENDED} AND a.outcome = 'answered'",
        _ENDED,
    ),
    _rate(
        "voicemail_rate",
        "Voicemail rate",
        "Attempts that reached a voicemail among ended ones.",
        f"{_ENDED} AND a.outcome = 'voicemail'",
        _ENDED,
    ),
    _rate(
        "success_rate",
        "Success rate",
        "Successful attempts among completed ones.",
        _SUCCESSFUL,
        _COMPLETED,
    ),
    _rate(
        "positive_share",
        "Positive",
        "Share of positive conversations among those whose sentiment is known.",
        f"{_JUDGED_MOOD} AND a.user_sentiment = 'Positive'",
        _JUDGED_MOOD,
    ),
    _rate(
        "neutral_share",
        "Neutral",
        "Share of neutral conversations among those whose sentiment is known.",
        f"{_JUDGED_MOOD} AND a.user_sentiment = 'Neutral'",
        _JUDGED_MOOD,
    ),
    _rate(
        "negative_share",
        "Negative",
        "Share of negative conversations among those whose sentiment is known.",
        f"{_JUDGED_MOOD} AND a.user_sentiment = 'Negative'",
        _JUDGED_MOOD,
    ),
    Metric(
        "talk_ms_sum",
        "Talk time",
        "Talk time of completed attempts, added up.",
        Unit.MS,
        Grain.ATTEMPT,
        f"CAST(COALESCE(SUM({TALK_MS}), 0) AS BIGINT)",
        empty=0,
    ),
    _time(
        "talk_ms_avg",
        "Talk time, average",
        "Mean talk time of completed attempts.",
        f"CAST(ROUND(AVG(CAST({TALK_MS} AS DOUBLE))) AS BIGINT)",
    ),
    _time(
        "talk_ms_p95",
        "Talk time, p95",
        "95% of completed attempts talked no longer.",
        _percentile(TALK_MS, 0.95),
    ),
    Metric(
        "cost_usd",
        "Cost",
        "What Retell charged for all attempts.",
        Unit.USD,
        Grain.ATTEMPT,
        _money("a.cost_usd"),
        empty=0,
    ),
    Metric(
        "cost_per_connected_usd",
        "Cost per connected call",
        "Cost of all attempts by connected ones.",
        Unit.USD,
        Grain.ATTEMPT,
        f"{_money('a.cost_usd')} / NULLIF({_number(_CONNECTED)}, 0)",
    ),
    Metric(
        "cost_per_success_usd",
        "Cost per success",
        "Cost of all attempts by successful ones.",
        Unit.USD,
        Grain.ATTEMPT,
        f"{_money('a.cost_usd')} / NULLIF({_number(_SUCCESSFUL)}, 0)",
    ),
    _time(
        "ring_ms_p50",
        "Ring time, median",
        "From Retell taking the call to its being picked up.",
        _percentile(RING_MS, 0.5),
    ),
    _time(
        "agent_latency_ms_p50",
        "Agent latency",
        "Median over the calls of the agent's own median time to respond.",
        _percentile("a.latency_p50_ms", 0.5),
    ),
    _calls(
        "waiting",
        "Waiting",
        "Calls that are scheduled or queued.",
        "c.status IN ('scheduled', 'queued')",
    ),
    _calls(
        "under_way",
        "Under way",
        "Calls that are being dialed or talked.",
        "c.status IN ('dialing', 'in_progress')",
    ),
    _calls(
        "not_placed",
        "Not placed",
        "Calls that ended without their latest attempt being taken by Retell, or without one.",
        f"{_CALL_ENDED} AND a.initiated_at IS NULL",
    ),
    _calls(
        "cancelled", "Cancelled", "Calls cancelled while they waited.", "c.status = 'cancelled'"
    ),
    _calls(
        "expired", "Expired", "Calls whose time ran out while they waited.", "c.status = 'expired'"
    ),
    _calls("rejected", "Rejected", "Calls that a policy refused.", "c.status = 'rejected'"),
    _time(
        "time_to_dial_ms_p50",
        "Time to dial, median",
        "From when the call was accepted, or due if later, to its latest attempt's submission.",
        _percentile(WAIT_MS, 0.5),
        Grain.CALL,
    ),
    _time(
        "time_to_dial_ms_p95",
        "Time to dial, p95",
        "As the median; 95% of calls waited no longer.",
        _percentile(WAIT_MS, 0.95),
        Grain.CALL,
    ),
    _time(
        "end_to_end_ms_p95",
        "End to end, p95",
        "From when the call was accepted, or due if later, to its analysis; 95% took no longer.",
        _percentile(WHOLE_MS, 0.95),
        Grain.CALL,
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}

#: What an answer holds where the question names no metrics.
DEFAULT_METRICS = (
    "calls",
    "attempts",
    "connected",
    "answered",
    "successful",
    "answer_rate",
    "success_rate",
    "talk_ms_avg",
    "cost_usd",
)


@dataclass(frozen=True, slots=True)
class Stage:
    """A span of a call's life, for the latency report. `sql` gives ms, or null."""

    name: str
    title: str
    meaning: str
    grain: Grain
    sql: str


STAGES = (
    Stage(
        "time_to_dial",
        "Waiting",
        "accepted (or due, if later) → submitted to Retell",
        Grain.CALL,
        WAIT_MS,
    ),
    Stage("ring", "Ringing", "taken by Retell → picked up", Grain.ATTEMPT, RING_MS),
    Stage("talk", "Talking", "picked up → hung up, as Retell tells it", Grain.ATTEMPT, TALK_MS),
    Stage("analysis", "Analysis", "hung up → analysis in the database", Grain.ATTEMPT, ANALYSIS_MS),
    Stage(
        "end_to_end",
        "End to end",
        "accepted (or due, if later) → analysis in the database",
        Grain.CALL,
        WHOLE_MS,
    ),
    Stage(
        "agent_response",
        "Agent response",
        "the agent's own median time to respond, a call",
        Grain.ATTEMPT,
        "a.latency_p50_ms",
    ),
)


def stage_figures(stage: Stage) -> list[str]:
    """Aggregates of a stage: how many, p50, p90, p95, p99, the longest."""
    shares = (0.5, 0.9, 0.95, 0.99)
    return [
        f"COUNT({stage.sql})",
        *(_percentile(stage.sql, share) for share in shares),
        f"CAST(ROUND(MAX({stage.sql})) AS BIGINT)",
    ]

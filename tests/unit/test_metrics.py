"""The metrics against a second opinion: the same figures worked out from the rows in Python."""

import itertools
import re
import statistics
import zoneinfo
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import outdial
from outdial.adapters.duckdb import DuckDBWarehouse
from outdial.analytics.dimensions import DIMENSIONS
from outdial.analytics.documentation import page
from outdial.analytics.funnel import funnel
from outdial.analytics.metrics import METRICS
from outdial.analytics.questions import Filters, aggregate, latency
from outdial.analytics.scope import OwnRows
from tests.warehouse_rows import Row, attempt_row, call_row

_START = 1_774_700_000_000  # the night before clocks change in Europe, 2026
_DAY = 86_400_000

_CALL_STATUSES = ["scheduled", "queued", "dialing", "in_progress", "completed", "failed"]
_CALL_STATUSES += ["cancelled", "expired", "rejected"]
_ATTEMPT_STATUSES = ["claimed", "unknown", "initiated", "started", "deferred", "refused"]
_ATTEMPT_STATUSES += ["completed", "completed", "failed", "lost"]


@pytest.fixture
async def warehouse(tmp_path: Path) -> AsyncIterator[DuckDBWarehouse]:
    """An empty warehouse."""
    adapter = DuckDBWarehouse(tmp_path / "w.duckdb")
    await adapter.upgrade()
    yield adapter
    await adapter.close()


def _maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


_SPAN = st.integers(0, 200_000)
_attempt = st.fixed_dictionaries(
    {
        "status": st.sampled_from(_ATTEMPT_STATUSES),
        "connected": st.booleans(),
        "outcome": _maybe(
            st.sampled_from(["answered", "voicemail", "no_answer", "busy", "declined", "failed"])
            | st.just("error")
        ),
        "call_successful": _maybe(st.booleans()),
        "user_sentiment": _maybe(st.sampled_from(["Positive", "Neutral", "Negative", "Unknown"])),
        "duration_ms": _maybe(st.integers(0, 600_000)),
        "cost_usd": _maybe(st.integers(0, 5_000_000).map(lambda micros: micros / 1_000_000)),
        "latency_p50_ms": _maybe(st.floats(0, 5_000, width=32)),
        "agent_id": _maybe(st.sampled_from(["agent_1", "agent_2"])),
    }
)
_offsets = st.tuples(_SPAN, _maybe(_SPAN), _maybe(_SPAN), _maybe(_SPAN), _maybe(_SPAN))


@st.composite
def _rows(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    calls, attempts = [], []
    for number in range(draw(st.integers(0, 12))):
        created = _START + draw(st.integers(0, 3 * _DAY))
        tries = draw(st.integers(0, 2))
        call = call_row(
            call_id=f"call-{number}",
            status=draw(st.sampled_from(_CALL_STATUSES)),
            campaign=draw(_maybe(st.sampled_from(["a", "b"]))),
            agent_id=draw(_maybe(st.sampled_from(["agent_1", "agent_3"]))),
            attempts=tries,
            not_before=draw(_maybe(st.just(created + 50_000))),
            created_at=created,
        )
        calls.append(call)
        for which in range(1, tries + 1):
            submitted, initiated, started, ended, analyzed = draw(_offsets)
            at = created + submitted
            attempts.append(
                attempt_row(
                    call_id=call["call_id"],
                    attempt_id=f"attempt-{number}-{which}",
                    number=which,
                    campaign=call["campaign"],
                    accepted_at=created,
                    submitted_at=draw(st.sampled_from([at, None])),
                    initiated_at=None if initiated is None else at + initiated,
                    started_at=None if started is None else at + started,
                    ended_at=None if ended is None else at + ended,
                    analyzed_at=None if analyzed is None else at + analyzed,
                    **draw(_attempt),
                )
            )
    return calls, attempts


def _ratio(part: int, base: int) -> float | None:
    return part / base if base else None


def _percentile(values: list[float], share: float) -> float | None:
    """Linear interpolation between the closest ranks, as SQL's PERCENTILE_CONT."""
    if not values:
        return None
    values = sorted(values)
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def _spans(rows: list[Row], first: Callable[[Row], Any], last: str) -> list[float]:
    pairs = [(first(row), row.get(last)) for row in rows]
    return [
        until - since
        for since, until in pairs
        if since is not None and until is not None and until >= since
    ]


def _expected(calls: list[Row], attempts: list[Row]) -> dict[str, float | None]:
    """Every metric, from `calls` (each with its latest attempt's columns) and `attempts`."""
    ended = [a for a in attempts if a["status"] in {"completed", "failed", "lost"}]
    under_way = {"claimed", "unknown", "initiated", "started"}
    completed = [a for a in attempts if a["status"] == "completed"]
    connected = sum(bool(a["connected"]) for a in attempts)
    successful = sum(bool(a["call_successful"]) for a in completed)
    known = {"Positive", "Neutral", "Negative"}
    moods = [a["user_sentiment"] for a in attempts if a["user_sentiment"] in known]
    talks = [a["duration_ms"] for a in completed if a["duration_ms"] is not None]
    cost = sum(round((a["cost_usd"] or 0) * 1_000_000) for a in attempts) / 1_000_000
    statuses = [c["status"] for c in calls]
    finished = {"completed", "failed", "cancelled", "expired", "rejected"}

    def due(call: Row) -> int:
        return max(int(call["created_at"]), int(call["not_before"] or 0))

    waits = _spans(calls, due, "submitted_at")
    wholes = _spans(calls, due, "analyzed_at")
    rings = _spans(attempts, lambda a: a["initiated_at"], "started_at")

    def outcome(name: str, rows: list[Row]) -> int:
        return sum(a["outcome"] == name for a in rows)

    return {
        "calls": len(calls),
        "attempts": len(attempts),
        "dialed": sum(a["initiated_at"] is not None for a in attempts),
        "connected": connected,
        "completed": len(completed),
        "failed": sum(a["status"] == "failed" for a in attempts),
        "lost": sum(a["status"] == "lost" for a in attempts),
        "ended": len(ended),
        "open": sum(a["status"] in under_way for a in attempts),
        "placed": len(ended) + sum(a["status"] in under_way for a in attempts),
        "deferred": sum(a["status"] == "deferred" for a in attempts),
        "refused": sum(a["status"] == "refused" for a in attempts),
        "answered": outcome("answered", attempts),
        "voicemail": outcome("voicemail", attempts),
        "no_answer": outcome("no_answer", attempts),
        "busy": outcome("busy", attempts),
        "declined": outcome("declined", attempts),
        "unreachable": outcome("failed", attempts),
        "errors": outcome("error", attempts),
        "successful": successful,
        "connect_rate": _ratio(sum(bool(a["connected"]) for a in ended), len(ended)),
        "answer_rate": _ratio(outcome("answered", ended), len(ended)),
        "voicemail_rate": _ratio(outcome("voicemail", ended), len(ended)),
        "success_rate": _ratio(successful, len(completed)),
        "positive_share": _ratio(moods.count("Positive"), len(moods)),
        "neutral_share": _ratio(moods.count("Neutral"), len(moods)),
        "negative_share": _ratio(moods.count("Negative"), len(moods)),
        "talk_ms_sum": sum(talks),
        "talk_ms_avg": statistics.fmean(talks) if talks else None,
        "talk_ms_p95": _percentile(talks, 0.95),
        "cost_usd": cost,
        "cost_per_connected_usd": cost / connected if connected else None,
        "cost_per_success_usd": cost / successful if successful else None,
        "ring_ms_p50": _percentile(rings, 0.5),
        "agent_latency_ms_p50": _percentile(
            [a["latency_p50_ms"] for a in attempts if a["latency_p50_ms"] is not None], 0.5
        ),
        "waiting": sum(status in {"scheduled", "queued"} for status in statuses),
        "under_way": sum(status in {"dialing", "in_progress"} for status in statuses),
        "not_placed": sum(c["status"] in finished and c.get("initiated_at") is None for c in calls),
        "cancelled": statuses.count("cancelled"),
        "expired": statuses.count("expired"),
        "rejected": statuses.count("rejected"),
        "time_to_dial_ms_p50": _percentile(waits, 0.5),
        "time_to_dial_ms_p95": _percentile(waits, 0.95),
        "end_to_end_ms_p95": _percentile(wholes, 0.95),
    }


def _joined(calls: list[Row], attempts: list[Row]) -> list[Row]:
    latest = {(a["call_id"], a["number"]): a for a in attempts}
    own = {"call_id", "status", "campaign", "attempts", "created_at", "not_before"}
    found = []
    for call in calls:
        attempt = latest.get((call["call_id"], call["attempts"]), {})
        row = {name: value for name, value in attempt.items() if name not in own}
        row |= {name: call[name] for name in own}
        row["agent_id"] = attempt.get("agent_id") or call["agent_id"]
        found.append(row)
    return found


def _assert_close(name: str, found: object, expected: object) -> None:
    if METRICS[name].unit == "ms" and expected is not None:
        # Whole ms; halves may go either way.
        assert found == pytest.approx(expected, abs=0.51), name
    else:
        assert found == (None if expected is None else pytest.approx(expected)), name


async def _load(warehouse: DuckDBWarehouse, calls: list[Row], attempts: list[Row]) -> OwnRows:
    await warehouse.clear()
    await warehouse.load(calls, attempts, [], 1)
    return OwnRows(warehouse, "default")


_FEW = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@_FEW
@given(rows=_rows())
async def test_every_metric_is_what_the_rows_say(
    warehouse: DuckDBWarehouse, rows: tuple[list[Row], list[Row]]
) -> None:
    """Over all rows, SQL and Python agree on every metric, also where the base is empty."""
    own = await _load(warehouse, *rows)
    table = await aggregate(own, tuple(METRICS), (), Filters())
    expected = _expected(_joined(*rows), rows[1])
    assert set(expected) == set(METRICS)
    for name, found in zip(table.metrics, table.rows[0], strict=True):
        _assert_close(name, found, expected[name])


@_FEW
@given(rows=_rows(), zone=st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"]))
async def test_groups_are_those_of_the_rows(
    warehouse: DuckDBWarehouse, rows: tuple[list[Row], list[Row]], zone: str
) -> None:
    """By local day and agent, each group's metrics are those of its rows."""
    own = await _load(warehouse, *rows)
    names = ("calls", "waiting", "attempts", "answer_rate", "cost_usd")
    table = await aggregate(own, names, ("day", "agent_id"), Filters(tz=zone))
    calls, attempts = _joined(*rows), rows[1]

    def day(at: int) -> str:
        moment = datetime.fromtimestamp(at / 1000, UTC)
        return moment.astimezone(zoneinfo.ZoneInfo(zone)).strftime("%Y-%m-%d")

    groups: dict[Any, tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
    for call in calls:
        groups[day(call["created_at"]), call["agent_id"]][0].append(call)
    for attempt in attempts:
        at = attempt["submitted_at"]
        key = day(attempt["accepted_at"] if at is None else at), attempt["agent_id"]
        groups[key][1].append(attempt)
    assert {tuple(row[:2]) for row in table.rows} == set(groups)
    for row in table.rows:
        expected = _expected(*groups[row[0], row[1]])
        for name, found in zip(names, row[2:], strict=True):
            _assert_close(name, found, expected[name])


@_FEW
@given(rows=_rows())
async def test_the_funnel_loses_nobody(
    warehouse: DuckDBWarehouse, rows: tuple[list[Row], list[Row]]
) -> None:
    """Each step is the one before less those it names as lost."""
    own = await _load(warehouse, *rows)
    steps = await funnel(own, Filters())
    assert steps[0].count == len(rows[0])
    for before, step in itertools.pairwise(steps):
        assert step.count == before.count - sum(loss.count for loss in step.lost)
        assert step.share == _ratio(step.count, len(rows[0]))


@_FEW
@given(rows=_rows())
async def test_latency_agrees_with_the_metrics(
    warehouse: DuckDBWarehouse, rows: tuple[list[Row], list[Row]]
) -> None:
    """The report's stages and the metrics of the same name are one definition."""
    own = await _load(warehouse, *rows)
    expected = _expected(_joined(*rows), rows[1])
    stages = {found.stage.name: found for found in await latency(own, Filters())}
    _assert_close("ring_ms_p50", stages["ring"].p50, expected["ring_ms_p50"])
    _assert_close("talk_ms_p95", stages["talk"].p95, expected["talk_ms_p95"])
    wait = stages["time_to_dial"]
    _assert_close("time_to_dial_ms_p95", wait.p95, expected["time_to_dial_ms_p95"])


async def test_every_dimension_works_with_every_metric(warehouse: DuckDBWarehouse) -> None:
    """Any metric can be split by any dimension."""
    own = await _load(warehouse, [call_row()], [attempt_row(call_id="x")])
    for name in DIMENSIONS:
        table = await aggregate(own, tuple(METRICS), (name,), Filters())
        assert len(table.rows) >= 1, name


def test_only_the_scope_names_the_tables() -> None:
    """Nothing outside `analytics.scope` reads a table directly, so nothing forgets the tenant."""
    tables = re.compile(r"\b(from|join)\s+(calls|call_attempts|activity_events)\b", re.IGNORECASE)
    package = Path(outdial.__file__).parent
    folders = ("analytics", "web_api", "dashboard")
    found = [
        path.relative_to(package).as_posix()
        for folder in folders
        for path in (package / folder).rglob("*.py")
        if tables.search(path.read_text("utf-8"))
    ]
    assert found == ["analytics/scope.py"]


def test_the_documentation_is_up_to_date() -> None:
    """`docs/metrics.md` says what `python -m outdial.analytics.documentation` prints."""
    root = Path(outdial.__file__).parents[2]
    assert (root / "docs" / "metrics.md").read_text("utf-8") == page()

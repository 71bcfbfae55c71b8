"""What of an analysis is stored with its attempt, and whether a row says what the analysis does."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping

from outdial.adapters.database.tables import attempts
from outdial.core.retell_events import CallDetails

#: Each is a column of `attempts` and a field of `CallDetails`.
DETAILS = (
    "call_status",
    "outcome",
    "disconnection_reason",
    "duration_ms",
    "call_successful",
    "user_sentiment",
    "in_voicemail",
    "call_summary",
    "custom_analysis_data",
    "cost_usd",
    "recording_url",
    "transcript",
    "agent_id",
    "agent_version",
    "latency_p50_ms",
)
COLUMNS = tuple(attempts.c[name] for name in DETAILS)


def as_row(details: CallDetails) -> dict[str, Any]:
    """The details, by column."""
    return {name: getattr(details, name) for name in DETAILS}


def differing(row: RowMapping, details: CallDetails) -> Sequence[str]:
    """The columns in which a row says other than its analysis."""
    return [name for name, value in as_row(details).items() if row[name] != value]

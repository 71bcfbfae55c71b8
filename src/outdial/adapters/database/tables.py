"""The ledger's tables: one schema for SQLite and PostgreSQL.

Times are integers, ms since the epoch, by the database's clock. `version` grows with every change
of a row and `loaded_version` is the one the warehouse has, so that no change is ever overlooked,
whatever order transactions commit in. Partial indexes hold only what waits for somebody.
"""

import re
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TextClause,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


# What the partial indexes hold. They are text because an index serves only the queries that repeat
# its condition literally: a bound parameter in its place makes a scan of it.
UNPUBLISHED = text("calls.status = 'queued' AND calls.published_at IS NULL")
PUBLISHED = text("calls.status = 'queued' AND calls.published_at IS NOT NULL")
SCHEDULED = text("calls.status = 'scheduled'")
EXPIRING = text("calls.expires_at IS NOT NULL AND calls.status IN ('scheduled', 'queued')")
LINE_OPEN = text("attempts.line_open")
UNSETTLED = text("attempts.status IN ('claimed', 'unknown')")
SILENT = text("attempts.silent_since IS NOT NULL")
UNLOADED = text("NOT activity_events.loaded")
UNSTOPPED = text("alarms.kind = 'duplicate_dial' AND alarms.stopped_at IS NULL")
UNMENDED = text("drift.mended_at IS NULL")


def _partial(name: str, *columns: Column[Any], where: str | TextClause) -> Index:
    # In an index there is one table only, and PostgreSQL wants it unnamed.
    condition = text(re.sub(r"\b(calls|attempts|activity_events|drift|alarms)\.", "", str(where)))
    return Index(name, *columns, sqlite_where=condition, postgresql_where=condition)


#: One row: the Retell workspace this ledger dials through.
workspace = Table(
    "workspace",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("deployment", Text, nullable=False),
    # The token bucket of the dial rate: what it held at `tokens_at`.
    Column("tokens", Float, nullable=False),
    Column("tokens_at", BigInteger, nullable=False),
    # `core.circuit.Circuit`: why nothing is dialed, since when, and how it is found out again.
    Column("circuit_trouble", Text),
    Column("circuit_reason", Text),
    Column("circuit_opened_at", BigInteger),
    Column("circuit_probe_at", BigInteger),
    Column("circuit_failures", Integer, nullable=False),
    Column("circuit_half_open", Boolean, nullable=False),
    Column("circuit_probe", Text),
    Column("circuit_probe_until", BigInteger),
    Column("circuit_unanswered", Integer, nullable=False),
    # What the platform said of its lines: its limit for us, and how far our own count was off.
    Column("line_limit", Integer),
    Column("line_offset", Integer, nullable=False),
    Column("line_offset_seen", Integer, nullable=False),
    # Calls up to this id may have been removed from the history.
    Column("pruned_to", Text),
)

#: Stop buttons that are pressed; an empty string stands for "all".
pauses = Table(
    "pauses",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("campaign", Text, primary_key=True),
    Column("since", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("secret_sha256", Text, nullable=False, unique=True),
    Column("tenant", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

calls = Table(
    "calls",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("to_number", Text, nullable=False),
    Column("from_number", Text),
    Column("agent_id", Text),
    Column("agent_version", Text),
    Column("dynamic_variables", _JSON),
    Column("metadata", _JSON),
    Column("external_id", Text),
    Column("campaign", Text),
    Column("time_zone", Text),
    Column("not_before", BigInteger),
    Column("expires_at", BigInteger),
    # Whose turn it is: tenants and campaigns take turns lane by lane.
    Column("lane", Text, nullable=False),
    # Not to be dialed before; moves with a deferral.
    Column("due_at", BigInteger, nullable=False),
    # When its hint was last sent to the call queue; null while it is to be sent.
    Column("published_at", BigInteger),
    Column("reason", Text),
    Column("message", Text),
    Column("attempts", Integer, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("told_initiated", Boolean, nullable=False),
    # When its oldest undelivered activity event may be sent; null when all are delivered.
    Column("outbox_due_at", BigInteger),
    Column("outbox_token", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("loaded_version", Integer, nullable=False),
)
Index("ix_calls_tenant_id", calls.c.tenant, calls.c.id)
Index("ix_calls_tenant_external_id", calls.c.tenant, calls.c.external_id)
_partial(
    "ix_calls_due",
    calls.c.lane,
    calls.c.due_at,
    where=UNPUBLISHED,
)
_partial("ix_calls_due_at", calls.c.due_at, where=UNPUBLISHED)
_partial(
    "ix_calls_published",
    calls.c.published_at,
    where=PUBLISHED,
)
_partial("ix_calls_scheduled", calls.c.not_before, where=SCHEDULED)
_partial(
    "ix_calls_expiring",
    calls.c.expires_at,
    where=EXPIRING,
)
_partial("ix_calls_outbox", calls.c.outbox_due_at, where="outbox_due_at IS NOT NULL")
_partial("ix_calls_unloaded", calls.c.id, where="version > loaded_version")

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
Index("ix_idempotency_keys_created_at", idempotency_keys.c.created_at)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("call_id", Text, ForeignKey("calls.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("lease_token", Text),
    Column("lease_until", BigInteger),
    Column("body", _JSON, nullable=False),
    Column("claimed_at", BigInteger, nullable=False),
    Column("first_submitted_at", BigInteger, nullable=False),
    # A submission of it went without an answer, so a later 4xx proves nothing.
    Column("doubted", Boolean, nullable=False),
    Column("doubts", Integer, nullable=False),
    # Since when its fate is unknown; and when it was first looked up and absent, past the window.
    Column("unknown_since", BigInteger),
    Column("absent_at", BigInteger),
    Column("retell_call_id", Text, unique=True),
    # Holds a permit: submitted, and neither call_ended nor call_analyzed heard.
    Column("line_open", Boolean, nullable=False),
    Column("told_initiated", Boolean, nullable=False),
    Column("told_started", Boolean, nullable=False),
    Column("told_end", Boolean, nullable=False),
    Column("initiated_at", BigInteger),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    # The analysis in force: the greatest (event timestamp, hash) heard.
    Column("analysis_timestamp", BigInteger),
    Column("analysis_sha256", Text),
    Column("analyzed_at", BigInteger),
    Column("call_status", Text),
    Column("outcome", Text),
    Column("disconnection_reason", Text),
    Column("duration_ms", BigInteger),
    Column("call_successful", Boolean),
    Column("user_sentiment", Text),
    Column("in_voicemail", Boolean),
    Column("call_summary", Text),
    Column("custom_analysis_data", _JSON),
    Column("cost_usd", Float),
    Column("recording_url", Text),
    Column("transcript", Text),
    Column("agent_id", Text),
    Column("agent_version", Text),
    Column("latency_p50_ms", Float),
    # Concluded without Retell's word.
    Column("provisional", Boolean, nullable=False),
    # Since when nothing was heard of it; null where no word of Retell is awaited.
    Column("silent_since", BigInteger),
    # The reconciler's own: when it asks next and last did; answers in a row that know no such call.
    Column("ask_at", BigInteger),
    Column("asked_at", BigInteger),
    Column("not_found", Integer),
    Column("message", Text),
    Column("version", Integer, nullable=False),
    Column("loaded_version", Integer, nullable=False),
    UniqueConstraint("call_id", "number"),
)
_partial("ix_attempts_line_open", attempts.c.id, where=LINE_OPEN)
_partial("ix_attempts_lease", attempts.c.lease_until, where=UNSETTLED)
_partial("ix_attempts_silent", attempts.c.silent_since, attempts.c.id, where=SILENT)
_partial("ix_attempts_unloaded", attempts.c.id, where="version > loaded_version")

#: The inbox: every webhook as it came. `id` is derived from (Retell call id, event, hash).
provider_events = Table(
    "provider_events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("retell_call_id", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("event_timestamp", BigInteger, nullable=False),
    # zlib-compressed raw bytes.
    Column("body", LargeBinary, nullable=False),
    Column("source", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("processed_at", BigInteger),
    Column("disposition", Text),
    Column("call_id", Text),
    Column("attempt_id", Text),
)
Index("ix_provider_events_received", provider_events.c.received_at, provider_events.c.id)
Index("ix_provider_events_retell_call_id", provider_events.c.retell_call_id)
_partial("ix_provider_events_call_id", provider_events.c.call_id, where="call_id IS NOT NULL")

activity_events = Table(
    "activity_events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("call_id", Text, ForeignKey("calls.id"), nullable=False),
    Column("attempt_id", Text),
    Column("attempt", Integer),
    Column("tenant", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("occurred_at", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    # The CloudEvent as JSON text, exactly as it is sent.
    Column("event", Text, nullable=False),
    Column("delivered_at", BigInteger),
    Column("tries", Integer, nullable=False),
    Column("parked_at", BigInteger),
    Column("last_error", Text),
    Column("loaded", Boolean, nullable=False),
    UniqueConstraint("call_id", "sequence"),
)
_partial("ix_activity_events_parked", activity_events.c.parked_at, where="parked_at IS NOT NULL")
_partial("ix_activity_events_unloaded", activity_events.c.id, where=UNLOADED)

#: What must never happen, and did.
alarms = Table(
    "alarms",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("attempt_id", Text, nullable=False),
    Column("retell_call_id", Text),
    Column("raised_at", BigInteger, nullable=False),
    # When the platform took the order to end a second call.
    Column("stopped_at", BigInteger),
)
Index("ix_alarms_call_id", alarms.c.call_id)
_partial("ix_alarms_unstopped", alarms.c.raised_at, where=UNSTOPPED)

#: What the reconciler found: where Retell and the ledger differed. `id` is derived from kind and
#: call, so that finding it again is the same finding.
drift = Table(
    "drift",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("call_id", Text),
    Column("attempt_id", Text),
    Column("retell_call_id", Text, nullable=False),
    Column("detail", Text),
    Column("found_at", BigInteger, nullable=False),
    # Null where a person has to look.
    Column("mended_at", BigInteger),
)
Index("ix_drift_found", drift.c.found_at, drift.c.id)
_partial("ix_drift_unmended", drift.c.found_at, where=UNMENDED)

#: One row: what the reconcilers did last, for all of them.
reconciliation = Table(
    "reconciliation",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("asked_at", BigInteger),
    Column("searched_at", BigInteger),
    # Why nothing is asked, or nothing closed; null while all goes well.
    Column("trouble", Text),
    Column("trouble_at", BigInteger),
)

"""The ledger."""

import time
import uuid

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    """Apply it."""
    op.create_table(
        "alarms",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("attempt_id", sa.Text(), nullable=False),
        sa.Column("retell_call_id", sa.Text(), nullable=True),
        sa.Column("raised_at", sa.BigInteger(), nullable=False),
        sa.Column("stopped_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarms")),
    )
    op.create_index("ix_alarms_call_id", "alarms", ["call_id"], unique=False)
    op.create_index(
        "ix_alarms_unstopped",
        "alarms",
        ["raised_at"],
        unique=False,
        sqlite_where=sa.text("kind = 'duplicate_dial' AND stopped_at IS NULL"),
        postgresql_where=sa.text("kind = 'duplicate_dial' AND stopped_at IS NULL"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_api_keys_secret_sha256")),
    )
    op.create_table(
        "calls",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("to_number", sa.Text(), nullable=False),
        sa.Column("from_number", sa.Text(), nullable=True),
        sa.Column("agent_id", sa.Text(), nullable=True),
        sa.Column("agent_version", sa.Text(), nullable=True),
        sa.Column("dynamic_variables", _JSON, nullable=True),
        sa.Column("metadata", _JSON, nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("campaign", sa.Text(), nullable=True),
        sa.Column("time_zone", sa.Text(), nullable=True),
        sa.Column("not_before", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("told_initiated", sa.Boolean(), nullable=False),
        sa.Column("outbox_due_at", sa.BigInteger(), nullable=True),
        sa.Column("outbox_token", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("loaded_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calls")),
    )
    op.create_index(
        "ix_calls_due",
        "calls",
        ["lane", "due_at"],
        unique=False,
        sqlite_where=sa.text("status = 'queued' AND published_at IS NULL"),
        postgresql_where=sa.text("status = 'queued' AND published_at IS NULL"),
    )
    op.create_index(
        "ix_calls_due_at",
        "calls",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("status = 'queued' AND published_at IS NULL"),
        postgresql_where=sa.text("status = 'queued' AND published_at IS NULL"),
    )
    op.create_index(
        "ix_calls_expiring",
        "calls",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("expires_at IS NOT NULL AND status IN ('scheduled', 'queued')"),
        postgresql_where=sa.text("expires_at IS NOT NULL AND status IN ('scheduled', 'queued')"),
    )
    op.create_index(
        "ix_calls_outbox",
        "calls",
        ["outbox_due_at"],
        unique=False,
        sqlite_where=sa.text("outbox_due_at IS NOT NULL"),
        postgresql_where=sa.text("outbox_due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_calls_published",
        "calls",
        ["published_at"],
        unique=False,
        sqlite_where=sa.text("status = 'queued' AND published_at IS NOT NULL"),
        postgresql_where=sa.text("status = 'queued' AND published_at IS NOT NULL"),
    )
    op.create_index(
        "ix_calls_scheduled",
        "calls",
        ["not_before"],
        unique=False,
        sqlite_where=sa.text("status = 'scheduled'"),
        postgresql_where=sa.text("status = 'scheduled'"),
    )
    op.create_index("ix_calls_tenant_external_id", "calls", ["tenant", "external_id"], unique=False)
    op.create_index("ix_calls_tenant_id", "calls", ["tenant", "id"], unique=False)
    op.create_index(
        "ix_calls_unloaded",
        "calls",
        ["id"],
        unique=False,
        sqlite_where=sa.text("version > loaded_version"),
        postgresql_where=sa.text("version > loaded_version"),
    )

    op.create_table(
        "idempotency_keys",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(
        "ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False
    )
    op.create_table(
        "pauses",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "campaign", name=op.f("pk_pauses")),
    )
    op.create_table(
        "provider_events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("retell_call_id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("event_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("processed_at", sa.BigInteger(), nullable=True),
        sa.Column("disposition", sa.Text(), nullable=True),
        sa.Column("call_id", sa.Text(), nullable=True),
        sa.Column("attempt_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_events")),
    )
    op.create_index(
        "ix_provider_events_call_id",
        "provider_events",
        ["call_id"],
        unique=False,
        sqlite_where=sa.text("call_id IS NOT NULL"),
        postgresql_where=sa.text("call_id IS NOT NULL"),
    )
    op.create_index(
        "ix_provider_events_received", "provider_events", ["received_at", "id"], unique=False
    )
    op.create_index(
        "ix_provider_events_retell_call_id", "provider_events", ["retell_call_id"], unique=False
    )

    op.create_table(
        "drift",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=True),
        sa.Column("attempt_id", sa.Text(), nullable=True),
        sa.Column("retell_call_id", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.Column("mended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift")),
    )
    op.create_index("ix_drift_found", "drift", ["found_at", "id"], unique=False)
    op.create_index(
        "ix_drift_unmended",
        "drift",
        ["found_at"],
        unique=False,
        sqlite_where=sa.text("mended_at IS NULL"),
        postgresql_where=sa.text("mended_at IS NULL"),
    )
    op.create_table(
        "reconciliation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=True),
        sa.Column("searched_at", sa.BigInteger(), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.Column("trouble_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reconciliation")),
    )
    op.bulk_insert(sa.table("reconciliation", sa.column("id", sa.Integer)), [{"id": 1}])
    op.create_table(
        "workspace",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("tokens_at", sa.BigInteger(), nullable=False),
        sa.Column("circuit_trouble", sa.Text(), nullable=True),
        sa.Column("circuit_reason", sa.Text(), nullable=True),
        sa.Column("circuit_opened_at", sa.BigInteger(), nullable=True),
        sa.Column("circuit_probe_at", sa.BigInteger(), nullable=True),
        sa.Column("circuit_failures", sa.Integer(), nullable=False),
        sa.Column("circuit_half_open", sa.Boolean(), nullable=False),
        sa.Column("circuit_probe", sa.Text(), nullable=True),
        sa.Column("circuit_probe_until", sa.BigInteger(), nullable=True),
        sa.Column("circuit_unanswered", sa.Integer(), nullable=False),
        sa.Column("line_limit", sa.Integer(), nullable=True),
        sa.Column("line_offset", sa.Integer(), nullable=False),
        sa.Column("line_offset_seen", sa.Integer(), nullable=False),
        sa.Column("pruned_to", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspace")),
    )
    op.create_table(
        "activity_events",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("attempt_id", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("parked_at", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("loaded", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["call_id"], ["calls.id"], name=op.f("fk_activity_events_call_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activity_events")),
        sa.UniqueConstraint(
            "call_id", "sequence", name=op.f("uq_activity_events_call_id_sequence")
        ),
    )
    op.create_index(
        "ix_activity_events_parked",
        "activity_events",
        ["parked_at"],
        unique=False,
        sqlite_where=sa.text("parked_at IS NOT NULL"),
        postgresql_where=sa.text("parked_at IS NOT NULL"),
    )
    op.create_index(
        "ix_activity_events_unloaded",
        "activity_events",
        ["id"],
        unique=False,
        sqlite_where=sa.text("NOT loaded"),
        postgresql_where=sa.text("NOT loaded"),
    )

    op.create_table(
        "attempts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("lease_token", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("body", _JSON, nullable=False),
        sa.Column("claimed_at", sa.BigInteger(), nullable=False),
        sa.Column("first_submitted_at", sa.BigInteger(), nullable=False),
        sa.Column("doubted", sa.Boolean(), nullable=False),
        sa.Column("doubts", sa.Integer(), nullable=False),
        sa.Column("unknown_since", sa.BigInteger(), nullable=True),
        sa.Column("absent_at", sa.BigInteger(), nullable=True),
        sa.Column("retell_call_id", sa.Text(), nullable=True),
        sa.Column("line_open", sa.Boolean(), nullable=False),
        sa.Column("told_initiated", sa.Boolean(), nullable=False),
        sa.Column("told_started", sa.Boolean(), nullable=False),
        sa.Column("told_end", sa.Boolean(), nullable=False),
        sa.Column("initiated_at", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("analysis_timestamp", sa.BigInteger(), nullable=True),
        sa.Column("analysis_sha256", sa.Text(), nullable=True),
        sa.Column("analyzed_at", sa.BigInteger(), nullable=True),
        sa.Column("call_status", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("disconnection_reason", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("call_successful", sa.Boolean(), nullable=True),
        sa.Column("user_sentiment", sa.Text(), nullable=True),
        sa.Column("in_voicemail", sa.Boolean(), nullable=True),
        sa.Column("call_summary", sa.Text(), nullable=True),
        sa.Column("custom_analysis_data", _JSON, nullable=True),
        sa.Column("cost_usd", sa.Float(), nullable=True),
        sa.Column("recording_url", sa.Text(), nullable=True),
        sa.Column("transcript", sa.Text(), nullable=True),
        sa.Column("agent_id", sa.Text(), nullable=True),
        sa.Column("agent_version", sa.Text(), nullable=True),
        sa.Column("latency_p50_ms", sa.Float(), nullable=True),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        sa.Column("silent_since", sa.BigInteger(), nullable=True),
        sa.Column("ask_at", sa.BigInteger(), nullable=True),
        sa.Column("asked_at", sa.BigInteger(), nullable=True),
        sa.Column("not_found", sa.Integer(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("loaded_version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["call_id"], ["calls.id"], name=op.f("fk_attempts_call_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("call_id", "number", name=op.f("uq_attempts_call_id_number")),
        sa.UniqueConstraint("retell_call_id", name=op.f("uq_attempts_retell_call_id")),
    )
    op.create_index(
        "ix_attempts_lease",
        "attempts",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("status IN ('claimed', 'unknown')"),
        postgresql_where=sa.text("status IN ('claimed', 'unknown')"),
    )
    op.create_index(
        "ix_attempts_line_open",
        "attempts",
        ["id"],
        unique=False,
        sqlite_where=sa.text("line_open"),
        postgresql_where=sa.text("line_open"),
    )
    op.create_index(
        "ix_attempts_silent",
        "attempts",
        ["silent_since", "id"],
        unique=False,
        sqlite_where=sa.text("silent_since IS NOT NULL"),
        postgresql_where=sa.text("silent_since IS NOT NULL"),
    )
    op.create_index(
        "ix_attempts_unloaded",
        "attempts",
        ["id"],
        unique=False,
        sqlite_where=sa.text("version > loaded_version"),
        postgresql_where=sa.text("version > loaded_version"),
    )
    # The deployment's name for itself at Retell: calls with another one's are not ours.
    op.bulk_insert(
        sa.table(
            "workspace",
            sa.column("id", sa.Integer),
            sa.column("deployment", sa.Text),
            sa.column("tokens", sa.Float),
            sa.column("tokens_at", sa.BigInteger),
            sa.column("line_offset", sa.Integer),
            sa.column("line_offset_seen", sa.Integer),
            sa.column("circuit_failures", sa.Integer),
            sa.column("circuit_half_open", sa.Boolean),
            sa.column("circuit_unanswered", sa.Integer),
        ),
        [
            {
                "id": 1,
                "deployment": str(uuid.uuid4()),
                "tokens": 0.0,
                "tokens_at": time.time_ns() // 1_000_000,
                "line_offset": 0,
                "line_offset_seen": 0,
                "circuit_failures": 0,
                "circuit_half_open": False,
                "circuit_unanswered": 0,
            }
        ],
    )

"""Migrations of the warehouse's schema, oldest first.

Snowflake commits each change of a schema by itself, so every statement may be run again: a
migration that broke off half-way is simply repeated. Written out, and not made from the port's
columns: what a released migration does must not change with them. A test compares the two.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. `statements` can each be run again without harm."""

    number: int
    name: str
    statements: tuple[str, ...]


class Run(Protocol):
    """Runs one statement; gives its rows."""

    def __call__(self, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        """Raises the driver's errors."""
        ...


_CALLS = """CREATE TABLE IF NOT EXISTS calls (
call_id VARCHAR, version BIGINT, tenant VARCHAR, status VARCHAR, reason VARCHAR,
external_id VARCHAR, campaign VARCHAR, agent_id VARCHAR, agent_version VARCHAR,
to_number VARCHAR, from_number VARCHAR, attempts BIGINT, not_before BIGINT, expires_at BIGINT,
created_at BIGINT, updated_at BIGINT)"""

_ATTEMPTS = """CREATE TABLE IF NOT EXISTS call_attempts (
attempt_id VARCHAR, version BIGINT, call_id VARCHAR, number BIGINT, tenant VARCHAR,
status VARCHAR, call_status VARCHAR, retell_call_id VARCHAR, external_id VARCHAR,
campaign VARCHAR, agent_id VARCHAR, agent_version VARCHAR, to_number VARCHAR,
from_number VARCHAR, metadata VARCHAR, accepted_at BIGINT, submitted_at BIGINT,
initiated_at BIGINT, started_at BIGINT, ended_at BIGINT, analyzed_at BIGINT, connected BOOLEAN,
outcome VARCHAR, disconnection_reason VARCHAR, duration_ms BIGINT, call_successful BOOLEAN,
user_sentiment VARCHAR, in_voicemail BOOLEAN, call_summary VARCHAR,
custom_analysis_data VARCHAR, cost_usd DOUBLE, recording_url VARCHAR, transcript VARCHAR,
latency_p50_ms DOUBLE, provisional BOOLEAN)"""

_ACTIVITY = """CREATE TABLE IF NOT EXISTS activity_events (
event_id VARCHAR, call_id VARCHAR, attempt_id VARCHAR, attempt BIGINT, tenant VARCHAR,
type VARCHAR, sequence BIGINT, occurred_at BIGINT, recorded_at BIGINT, data VARCHAR)"""

_FRESHNESS = "CREATE VIEW IF NOT EXISTS freshness AS SELECT NULL::BIGINT AS as_of"

MIGRATIONS = (Migration(1, "the tables", (_CALLS, _ATTEMPTS, _ACTIVITY, _FRESHNESS)),)

_TABLE = (
    "CREATE TABLE IF NOT EXISTS schema_migrations "
    "(number BIGINT, name VARCHAR, applied_at TIMESTAMP_NTZ)"
)


def pending(run: Run, migrations: tuple[Migration, ...]) -> list[Migration]:
    """What the schema lacks; all of it where there is nothing yet."""
    there = run(
        "SELECT COUNT(*) FROM information_schema.tables "
        "WHERE table_schema = CURRENT_SCHEMA() AND table_name = 'SCHEMA_MIGRATIONS'"
    )
    if not there[0][0]:
        return list(migrations)
    applied = {row[0] for row in run("SELECT number FROM schema_migrations")}
    return [migration for migration in migrations if migration.number not in applied]


def upgrade(run: Run, migrations: tuple[Migration, ...]) -> None:
    """Run what is pending."""
    waiting = pending(run, migrations)
    if waiting:
        run(_TABLE)
    for migration in waiting:
        for statement in migration.statements:
            run(statement)
        # Where two upgrade at once, one line will do.
        run(
            "INSERT INTO schema_migrations SELECT ?, ?, SYSDATE() "
            "WHERE NOT EXISTS (SELECT 1 FROM schema_migrations WHERE number = ?)",
            (migration.number, migration.name, migration.number),
        )

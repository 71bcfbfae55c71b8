"""Migrations: bringing a database to the schema this version of the program works with.

Alembic is loaded only where there is something to migrate: it costs 0.1 s and 8 MB.
"""

from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, inspect, select, text

from outdial.adapters.database.engine import Database

if TYPE_CHECKING:
    from alembic.config import Config

#: The newest migration.
HEAD = "0001"
#: Any number that nobody else uses in this database.
_LOCK = 7_302_011


async def upgrade(database: Database) -> list[str]:
    """Run the pending migrations; their names, oldest first.

    One transaction on SQLite; on PostgreSQL one each, so that what builds an index without
    stopping the writers can be outside of any.
    """
    if await database.read(_is_current):
        return []

    def work(connection: Connection) -> list[str]:
        from alembic import command  # noqa: PLC0415

        if connection.dialect.name == "postgresql":
            # SQLite has one writer anyway; here two that start together would both make tables.
            connection.execute(select(func.pg_advisory_lock(_LOCK)))
        waiting = _pending(connection)
        if connection.dialect.name == "postgresql":
            connection.commit()
        if waiting:
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return waiting

    return await database.migrate(work)


async def pending(database: Database) -> list[str]:
    """The migrations that `upgrade` would run, oldest first."""
    return [] if await database.read(_is_current) else await database.read(_pending)


def _is_current(connection: Connection) -> bool:
    if not inspect(connection).has_table("alembic_version"):
        return False
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    return found == [HEAD]


def _config() -> "Config":
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "outdial:migrations")
    return config


def _pending(connection: Connection) -> list[str]:
    from alembic.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    script = ScriptDirectory.from_config(_config())
    current = MigrationContext.configure(connection).get_current_revision()
    revisions = script.iterate_revisions("heads", current or "base")
    return [revision.revision for revision in reversed(list(revisions))]

"""Migrations: bringing a database to the schema this version of the program works with."""

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from outdial.adapters.database.engine import Database


async def upgrade(database: Database) -> list[str]:
    """Run the pending migrations in one transaction; their names, oldest first."""

    def work(connection: Connection) -> list[str]:
        waiting = _pending(connection)
        if waiting:
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return waiting

    return await database.transact(work)


async def pending(database: Database) -> list[str]:
    """The migrations that `upgrade` would run, oldest first."""
    return await database.read(_pending)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "outdial:migrations")
    return config


def _pending(connection: Connection) -> list[str]:
    script = ScriptDirectory.from_config(_config())
    current = MigrationContext.configure(connection).get_current_revision()
    revisions = script.iterate_revisions("heads", current or "base")
    return [revision.revision for revision in reversed(list(revisions))]

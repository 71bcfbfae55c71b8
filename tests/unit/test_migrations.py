"""Migrations make the schema that `tables.py` describes, once, on both databases."""

import asyncio
import re
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from outdial.adapters.database import schema, tables
from outdial.adapters.database.engine import Database, open_database
from outdial.adapters.database.workspace import deployment_of

_SQLITE = text("""
SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'alembic%' ORDER BY type, name
""")
_POSTGRESQL = text("""
SELECT 'index', indexname, indexdef FROM pg_indexes
WHERE schemaname = current_schema() AND tablename <> 'alembic_version'
UNION ALL
SELECT 'constraint', conrelid::regclass || ' ' || conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = current_schema()::regnamespace
AND conrelid::regclass::text <> 'alembic_version'
UNION ALL
SELECT 'column', table_name || '.' || column_name,
    concat_ws(' ', data_type, 'null:', is_nullable, 'default:', column_default)
FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name <> 'alembic_version'
ORDER BY 1, 2
""")

#: SQLite keeps what it was told, and the order of constraints there means nothing.
_PARTS = re.compile(r", |\( | \)$|\)$")


def _objects(connection: Connection) -> list[tuple[Any, ...]]:
    """All that the database itself says of its schema, predicates of indexes included."""
    query = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL
    return [
        (kind, name, sorted(_PARTS.split(" ".join((definition or "").split()))))
        for kind, name, definition in connection.execute(query)
    ]


def _differences(connection: Connection) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection), tables.metadata))


async def test_migrations_make_the_tables(ledger_url: str) -> None:
    """Alembic finds no difference between the migrated database and the tables in code."""
    database = open_database(ledger_url)
    assert await database.read(_differences) == []
    await database.close()


async def test_migrations_make_every_index_and_constraint(database_url: str) -> None:
    """The database describes its schema alike, whichever of the two made it."""
    database = open_database(database_url)
    await schema.upgrade(database)
    migrated = await database.read(_objects)
    await database.transact(tables.metadata.drop_all)
    await database.transact(tables.metadata.create_all)
    assert migrated == await database.read(_objects)
    assert len(migrated) > 20
    await database.close()


async def test_an_upgrade_runs_once(database_url: str) -> None:
    """What waits is reported before and not after; the deployment keeps its name."""
    database = open_database(database_url)
    waiting = await schema.pending(database)
    assert waiting[0] == "0001"
    assert await schema.upgrade(database) == waiting
    name = await database.read(deployment_of)
    assert await schema.pending(database) == []
    assert await schema.upgrade(database) == []
    assert await database.read(deployment_of) == name
    await database.close()


async def test_upgrades_at_the_same_time_are_one(database_url: str) -> None:
    """Several processes may start together: one migrates, the others find it done."""
    databases: list[Database] = [open_database(database_url) for _ in range(3)]
    ran = await asyncio.gather(*(schema.upgrade(database) for database in databases))
    assert sorted(map(bool, ran)) == [False, False, True]
    for database in databases:
        await database.close()


async def test_an_upgrade_that_fails_leaves_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is one transaction: the next try begins anew."""
    database = open_database(database_url)

    def fail(*_: object) -> None:
        raise ValueError("half-way")

    with monkeypatch.context() as patch:
        patch.setattr("alembic.op.bulk_insert", fail)
        with pytest.raises(ValueError, match="half-way"):
            await schema.upgrade(database)
    assert await database.read(_objects) == []
    assert await schema.upgrade(database) == ["0001"]
    await database.close()

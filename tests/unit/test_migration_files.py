"""What migrations may do to a table that is in use; docs/how-to/postgresql.md says why."""

import ast
import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from outdial import migrations
from outdial.adapters.database import postgresql, schema
from outdial.adapters.database.engine import open_database

_FOLDER = Path(migrations.__file__).parent
_FILES = sorted((_FOLDER / "versions").glob("*.py"))

#: Locks that stop every reader or writer while all rows are read or written.
_FORBIDDEN_SQL = re.compile(r"\b(VACUUM FULL|CLUSTER|LOCK TABLE|SET NOT NULL)\b", re.IGNORECASE)
_SECOND = '''
"""A second migration: an index on a table in use."""

from alembic import op

from outdial.migrations import beside_writers

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """An index."""
    with beside_writers():
        op.create_index(
            "ix_calls_to_number", "calls", ["to_number"],
            postgresql_concurrently=True, if_not_exists=True,
        )
'''


def faults_of(source: str) -> list[str]:
    """What a migration does that must not be done to a table in use; a line each."""
    tree = ast.parse(source)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = {_text(call, 0) for call in calls if _name(call) == "create_table"}
    beside = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        and any(_name(item.context_expr) == "beside_writers" for item in node.items)
        for inner in ast.walk(node)
    }
    return [
        f"line {call.lineno}: {fault}"
        for call in calls
        for fault in _faults(call, made, concurrent=id(call) in beside)
    ]


def _faults(call: ast.Call, made: set[str | None], *, concurrent: bool) -> Iterator[str]:
    name = _name(call)
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if name == "create_index" and _text(call, 1) not in made:
        safe = {"postgresql_concurrently", "if_not_exists"} <= given.keys()
        if not (concurrent and safe):
            yield "an index on a table in use: build it in beside_writers(), concurrently"
    elif name == "add_column":
        column = call.args[1] if len(call.args) > 1 else None
        options = (
            {keyword.arg: ast.unparse(keyword.value) for keyword in column.keywords}
            if isinstance(column, ast.Call)
            else {}
        )
        if options.get("nullable") != "True" and "server_default" not in options:
            yield "a column that must not be null: give it a server_default"
    elif name == "alter_column" and {"type_", "nullable"} & given.keys():
        yield "the table is written or read anew: add a column, fill it in batches, then switch"
    elif name in {"create_foreign_key", "create_check_constraint", "create_unique_constraint"}:
        if _text(call, 1) not in made:
            yield "every row is checked: add it NOT VALID, then validate it"
    elif name in {"rename_table", "drop_column", "drop_table"}:
        yield "the version that still runs reads it: leave it to the release after the next"
    elif name == "execute" and _FORBIDDEN_SQL.search(ast.unparse(call)):
        yield "it stops everybody"


def _name(node: ast.AST) -> str:
    called = node.func if isinstance(node, ast.Call) else node
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def _text(call: ast.Call, place: int) -> str | None:
    argument = call.args[place] if len(call.args) > place else None
    return str(argument.value) if isinstance(argument, ast.Constant) else None


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_a_migration_is_safe_on_a_table_in_use(path: Path) -> None:
    """Nothing in it holds a lock for as long as the table is large."""
    source = path.read_text()
    body = source[: source.index("def downgrade")] if "def downgrade" in source else source
    assert faults_of(body) == []


@pytest.mark.parametrize(
    "statement",
    [
        'op.create_index("ix", "calls", ["a"])',
        'op.create_index("ix", "calls", ["a"], postgresql_concurrently=True, if_not_exists=True)',
        'with beside_writers():\n    op.create_index("ix", "calls", ["a"])',
        'op.add_column("calls", sa.Column("a", sa.Text(), nullable=False))',
        'op.alter_column("calls", "a", nullable=False)',
        'op.alter_column("calls", "a", type_=sa.BigInteger())',
        'op.create_foreign_key("fk", "calls", "attempts", ["a"], ["id"])',
        'op.drop_column("calls", "a")',
        'op.execute("ALTER TABLE calls ALTER a SET NOT NULL")',
    ],
)
def test_an_unsafe_statement_would_be_seen(statement: str) -> None:
    """Each of these has stopped somebody's service."""
    assert len(faults_of(statement)) == 1


@pytest.mark.parametrize(
    "statement",
    [
        _SECOND,
        'op.create_table("t", sa.Column("a"))\nop.create_index("ix", "t", ["a"])',
        'op.add_column("calls", sa.Column("a", sa.Text(), nullable=True))',
        'op.add_column("calls", sa.Column("a", sa.Text(), nullable=False, server_default=""))',
    ],
)
def test_a_safe_statement_passes(statement: str) -> None:
    """There is a way for all that a schema needs."""
    assert faults_of(statement) == []


def test_the_head_is_the_newest_file() -> None:
    """`schema.HEAD` saves loading Alembic where nothing waits."""
    assert _FILES[-1].stem.startswith(schema.HEAD)


def _release_with_one_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(_FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "0002_an_index.py").write_text(_SECOND)
    newer = schema._config()
    newer.set_main_option("script_location", str(folder))
    monkeypatch.setattr(schema, "_config", lambda: newer)
    monkeypatch.setattr(schema, "HEAD", "0002")


async def test_an_index_is_built_beside_a_writer(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On both databases; what runs in a transaction could not make it on PostgreSQL."""
    database = open_database(database_url)
    await schema.upgrade(database)
    _release_with_one_more(tmp_path / "newer", monkeypatch)
    assert await schema.pending(database) == ["0002"]
    assert await schema.upgrade(database) == ["0002"]
    assert await schema.pending(database) == []

    def indexes(connection: Connection) -> set[str]:
        query = (
            "SELECT indexname FROM pg_indexes"
            if connection.dialect.name == "postgresql"
            else "SELECT name FROM sqlite_master"
        )
        return set(connection.execute(text(query)).scalars())

    assert "ix_calls_to_number" in await database.read(indexes)
    await database.close()


async def test_a_migration_lets_others_pass_while_it_waits(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives up its place in the queue for the lock, and tries again until it gets it."""
    monkeypatch.setattr(postgresql, "_MIGRATION_LOCK_SECONDS", 0.1)
    database = open_database(postgres_url)
    other = open_database(postgres_url)
    await database.transact(lambda c: c.execute(text("CREATE TABLE used (n int)")).close())
    tries: list[int] = []
    held = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(connection: Connection) -> None:
        connection.execute(text("LOCK TABLE used IN ACCESS SHARE MODE"))
        loop.call_soon(held.set)
        connection.execute(text("SELECT pg_sleep(0.5)"))

    def change(connection: Connection) -> None:
        tries.append(1)
        connection.execute(text("ALTER TABLE used ADD COLUMN m int"))
        connection.commit()

    holding = asyncio.create_task(other.transact(hold))
    await held.wait()
    await database.migrate(change)
    await holding
    assert len(tries) > 1
    await database.close()
    await other.close()

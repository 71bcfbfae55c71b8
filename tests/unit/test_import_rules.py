"""Who may import whom: the layout's rules, held against every import in the package."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "outdial"

STAGES = (
    "internal_api",
    "call_processor",
    "webhook_lambda",
    "webhook_processor",
    "relay",
    "reconciler",
    "web_api",
)

#: What puts a program together out of adapters. The Lambda does it itself: bootstrap is made for
#: settings and libraries that its runtime does not carry.
COMPOSERS = ("bootstrap", "webhook_lambda")

#: Who may catch everything: the consumer, and the writing thread, which hands each error on to the
#: caller that waits for it.
CATCHERS = ("consumer", "adapters.database.sqlite")

#: What of the package each part may import, itself aside. Parts not named here may import any but
#: adapters and, being stages, other stages.
ALLOWED = {
    "core": (),
    "errors": ("core",),
    "ports": ("core",),
    "adapters": ("core", "errors", "ports", "provider_json"),
    "provider_json": ("core",),
    # They belong to the tables that they lay out.
    "migrations": ("adapters.database",),
    "simulator": ("core.signature",),
    # The Lambda pays for what it imports: it has no bootstrap but itself.
    "webhook_lambda": (
        "core",
        "errors",
        "ports",
        "adapters.aws",
        "adapters.folder_parking",
        "adapters.sqlite_queue",
    ),
}

#: Drivers, and the only parts that may import them: their own adapter and what describes it.
DRIVERS = {
    "aiobotocore": ("adapters",),
    "alembic": ("adapters.database", "migrations"),
    "asyncpg": ("adapters.database",),
    "boto3": ("adapters", "webhook_lambda"),
    "botocore": ("adapters", "webhook_lambda"),
    "duckdb": ("adapters.duckdb",),
    "retell": ("adapters.retell",),
    "pyarrow": ("adapters.snowflake",),
    "snowflake": ("adapters.snowflake",),
    "sqlglot": ("adapters.snowflake",),
}

#: Parts that import the standard library only (the Lambda: and what its runtime carries).
BARE = {"core": (), "errors": (), "webhook_lambda": ("boto3", "botocore")}


@dataclass(frozen=True, slots=True)
class Import:
    """One import. `importer` and `imported` are dotted; those of the package lack `outdial.`."""

    importer: str
    imported: str
    line: int
    internal: bool
    at_load: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def imports_in(source: str, importer: str, *, is_package: bool = False) -> Iterator[Import]:
    """Find every import in a module of the package, inside functions too."""
    tree = ast.parse(source)
    lazy = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _for_types_only(node)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        for name in _names(node, importer, is_package=is_package):
            internal = name == "outdial" or name.startswith("outdial.")
            imported = name.removeprefix("outdial").removeprefix(".") if internal else name
            yield Import(importer, imported, getattr(node, "lineno", 0), internal, node not in lazy)


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _names(node: ast.AST, importer: str, *, is_package: bool) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            base = module or ""
            if level:
                parts = ["outdial", *importer.split(".")] if importer else ["outdial"]
                up = level - 1 if is_package else level
                base = ".".join([*parts[: len(parts) - up], *([module] if module else [])])
            return [f"{base}.{alias.name}" for alias in names]
        case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]):
            called = function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)
            return [name] if called in {"import_module", "__import__"} else []
        case _:
            return []


def _within(module: str, *parts: str) -> bool:
    return any(module == part or module.startswith(f"{part}.") for part in parts)


def fault(found: Import) -> str | None:
    """Say which rule an import breaks, if any."""
    return _internal_fault(found) if found.internal else _external_fault(found)


def _internal_fault(found: Import) -> str | None:
    part, target = _part(found.importer), _part(found.imported)
    if part == target or (_within(found.importer, "adapters") and found.imported == "adapters"):
        return None
    allowed = ALLOWED.get(part.partition(".")[0])
    if allowed is not None and not _within(found.imported, *allowed):
        return f"{part} may import only itself and {allowed}"
    if _within(found.imported, "adapters"):
        if part not in {*COMPOSERS, "migrations"}:
            return f"only {COMPOSERS} import adapters"
        if part in COMPOSERS and found.at_load:
            return f"{part} imports adapters lazily, by role"
    if part in STAGES and target in STAGES:
        return "stages never import each other"
    return None


def _external_fault(found: Import) -> str | None:
    part = _part(found.importer)
    top = found.imported.partition(".")[0]
    if part in BARE and top not in sys.stdlib_module_names and top not in BARE[part]:
        return f"{part} imports the standard library only"
    if top in DRIVERS and not _within(found.importer, *DRIVERS[top]):
        return f"{top} is imported by {DRIVERS[top]} only"
    return None


def _part(module: str) -> str:
    """Name the part a module belongs to; each adapter is a part of its own."""
    names = module.split(".")
    return ".".join(names[:2] if names[0] == "adapters" else names[:1])


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        names = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(names[:-1] if names[-1] == "__init__" else names), path


def test_every_import_keeps_to_the_layout() -> None:
    """No module imports what the layout keeps from it."""
    faults = [
        f"{found}: {broken}"
        for module, path in _modules()
        for found in imports_in(
            path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py"
        )
        if (broken := fault(found))
    ]
    assert faults == []


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("core.call", "import orjson"),
        ("core.call", "from outdial.errors import Poison"),
        ("core.call", "def late():\n    from outdial import config"),
        ("ports.queue", "from outdial.consumer import run"),
        ("errors", "from outdial.ports.queue import Queue"),
        ("adapters.sqs", "from outdial.adapters.retell import client"),
        ("adapters.sqs", "from .retell import client"),
        ("adapters.sqs", "from . import retell"),
        ("adapters.sqs", "from outdial.config import Settings"),
        ("adapters.sqs", "import duckdb"),
        ("adapters.database.tables", "from outdial.adapters import sqs"),
        ("adapters.database.tables", "from ..sqs import queue"),
        ("relay", "from outdial.adapters.sqs import SqsQueue"),
        ("relay", "import outdial.adapters"),
        ("relay", "import importlib\nimportlib.import_module('outdial.adapters.sqs')"),
        ("relay", "from outdial import reconciler"),
        ("internal_api.calls", "def late():\n    import outdial.call_processor"),
        ("reconciler", "import retell"),
        ("bootstrap", "from outdial.adapters.sqs import SqsQueue"),
        ("migrations.env", "from outdial.adapters.sqs import SqsQueue"),
        ("simulator.platform", "from outdial.core import call"),
        ("simulator.platform", "from outdial.config import Settings"),
        ("webhook_lambda", "import pydantic"),
        ("webhook_lambda", "from outdial.adapters.sqlite_queue import SQLiteQueue"),
        ("webhook_lambda", "def late():\n    from outdial.adapters.retell import client"),
        ("webhook_lambda", "from outdial.telemetry import log"),
    ],
)
def test_a_breach_is_found(importer: str, source: str) -> None:
    """An import against the layout is found, wherever in a module it stands."""
    assert [found for found in imports_in(source, importer) if fault(found)]


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("core.call", "import enum\nfrom outdial.core.activity import ActivityType"),
        ("core.call", "from .activity import ActivityType"),
        ("ports.queue", "from outdial.core.messages import Envelope"),
        ("adapters.sqs", "import aiobotocore\nfrom outdial.errors import Unavailable"),
        ("adapters.database.ledger", "from outdial.adapters.database import tables"),
        ("adapters.database.ledger", "from . import tables"),
        ("bootstrap", "def build():\n    from outdial.adapters.sqs import SqsQueue"),
        ("bootstrap", "if TYPE_CHECKING:\n    from outdial.adapters.sqs import SqsQueue"),
        ("relay", "from outdial.consumer import run\nfrom outdial import telemetry"),
        ("internal_api.calls", "from outdial.internal_api import problems"),
        ("simulator.platform", "from outdial.core.signature import sign\nimport fastapi"),
        ("simulator.platform", "from outdial.core import signature"),
        ("dashboard.pages", "from outdial.web_api import overview"),
        ("migrations.env", "from outdial.adapters.database.tables import metadata"),
        ("webhook_lambda", "import botocore.auth\nfrom outdial.core import signature"),
        ("webhook_lambda", "def late():\n    from outdial.adapters import sqlite_queue"),
    ],
)
def test_what_the_layout_allows_passes(importer: str, source: str) -> None:
    """An import that the layout allows is not found fault with."""
    assert [fault(found) for found in imports_in(source, importer) if fault(found)] == []


def test_who_may_catch_everything() -> None:
    """Nobody else catches everything, unless to clean up and raise it again."""
    caught = [
        f"{module}:{node.lineno}"
        for module, path in _modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler) and _catches_everything(node)
    ]
    assert [place for place in caught if not _within(place.partition(":")[0], *CATCHERS)] == []


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    if isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None:
        return False
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"})
        for kind in kinds
    )

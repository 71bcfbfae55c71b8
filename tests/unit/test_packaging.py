"""What is promised about installing and starting: locks, light imports, documented commands."""

import ast
import importlib.metadata
import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

#: What takes long to import, and what the Lambda's runtime does not carry.
HEAVY = {
    "aiobotocore",
    "aiohttp",
    "alembic",
    "asyncpg",
    "boto3",
    "duckdb",
    "fastapi",
    "httpx",
    "phonenumbers",
    "pydantic",
    "pydantic_settings",
    "retell",
    "snowflake",
    "sqlalchemy",
    "sqlglot",
    "uvicorn",
    "vl_convert",
}

#: What the interfaces of declared packages are made of: FastAPI's, aiohttp's, the extras'.
SHOWN = {
    "botocore",
    "cryptography",
    "pyarrow",
    "pydantic_core",
    "starlette",
    "typing_extensions",
    "yarl",
}


def _pins(lock: str) -> dict[str, Version]:
    """Read a lock: versions by normalised name, whatever the platform."""
    text = (LOCKS / f"{lock}.txt").read_text(encoding="utf-8")
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in found}


@pytest.mark.parametrize("lock", sorted(path.stem for path in LOCKS.glob("*.txt")))
def test_a_lock_names_no_index(lock: str) -> None:
    """A lock holds names, versions and hashes; where to get them is each machine's own affair."""
    text = (LOCKS / f"{lock}.txt").read_text(encoding="utf-8")
    assert re.findall(r"\w+://\S*|--(?:index|extra|find|trusted)\S*", text) == []


def test_what_is_imported_is_declared() -> None:
    """No module lives on a package that another one happens to bring along."""
    project = PROJECT["project"]
    declared = [
        *project["dependencies"],
        *itertools.chain(*project["optional-dependencies"].values()),
    ]
    named = {canonicalize_name(Requirement(text).name) for text in declared}
    owners = importlib.metadata.packages_distributions()
    borrowed = {}
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported = [node.module or ""]
            else:
                continue
            for top in {name.partition(".")[0] for name in imported} - sys.stdlib_module_names:
                if not named & {canonicalize_name(owner) for owner in owners.get(top, ())}:
                    borrowed[top] = path.name
    assert borrowed.keys() - SHOWN == {"outdial"}, borrowed


@pytest.mark.parametrize("lock", sorted(path.stem for path in LOCKS.glob("*.txt")))
def test_every_pin_has_a_hash(lock: str) -> None:
    """Each pinned package is followed by at least one SHA-256."""
    text = (LOCKS / f"{lock}.txt").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    assert [entry for entry in entries if entry.strip() and "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("runtime", PROJECT["project"]["dependencies"]),
        ("dev", PROJECT["project"]["dependencies"]),
        ("dev", PROJECT["dependency-groups"]["dev"]),
        ("bootstrap", PROJECT["dependency-groups"]["bootstrap"]),
        ("build", PROJECT["dependency-groups"]["build"]),
        ("dev", PROJECT["project"]["optional-dependencies"]["snowflake"]),
        ("fakesnow", PROJECT["dependency-groups"]["fakesnow"]),
        ("build", PROJECT["build-system"]["requires"]),
    ],
)
def test_a_lock_covers_what_is_asked_for(lock: str, wanted: list[str]) -> None:
    """Each requirement of pyproject.toml is in its lock, in a version that it accepts."""
    pins = _pins(lock)
    requirements = [Requirement(text) for text in wanted]
    assert [
        str(requirement)
        for requirement in requirements
        if not requirement.specifier.contains(pins.get(canonicalize_name(requirement.name), "0"))
    ] == []


@pytest.mark.parametrize("other", ["runtime", "build"])
def test_locks_agree(other: str) -> None:
    """What two locks pin both, they pin alike: they are installed into one environment."""
    development, pins = _pins("dev"), _pins(other)
    assert {name: pins[name] for name in pins if name in development} == {
        name: development[name] for name in pins if name in development
    }


def _imported_by(*arguments: str) -> set[str]:
    """Run Python in a process of its own; give the top-level packages it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return {
        line.rpartition("|")[2].strip().partition(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }


def test_the_lambda_imports_nothing_heavy() -> None:
    """Importing the webhook's Lambda loads the standard library and the package alone."""
    imported = _imported_by("-c", "import outdial.webhook_lambda")
    assert "outdial" in imported
    assert imported & HEAVY == set()


def test_help_imports_nothing_heavy() -> None:
    """`outdial --help` answers without loading what the stages need."""
    imported = _imported_by(str(Path(sys.executable).parent / "outdial"), "--help")
    assert "outdial" in imported
    assert imported & HEAVY == set()


def test_the_readme_marks_the_test_command_that_ci_runs() -> None:
    """The README's marked test command is `make check`, which CI therefore runs."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    marked = re.search(r"<!-- test command -->\s*```\w*\n(.*)\n", text)
    assert marked is not None
    assert marked.group(1) == "make check"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_documented_targets_exist(page: str) -> None:
    """Every `make` target that a page names is in the Makefile."""
    targets = set(re.findall(r"^([a-z.]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", (ROOT / page).read_text("utf-8"), re.MULTILINE))
    assert named - targets == set()

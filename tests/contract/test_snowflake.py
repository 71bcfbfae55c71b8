"""The warehouse's contract, and Snowflake's own promises, kept by a Snowflake of this machine.

The stand-in works with another version of the connector than ships, so it has an environment of
its own, `.venv/fakesnow`, which `make` makes. The tests run there, once, by its interpreter; here
each of them is told as a test.
"""

import ast
import fcntl
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import coverage
import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv" / "fakesnow" / "bin" / "python"
SUITES = (
    ROOT / "tests" / "contract" / "test_warehouse.py",
    ROOT / "tests" / "snowflake" / "snowflake_promises.py",
)
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef

TESTS = [
    f"{path.stem}::{node.name}"
    for path in SUITES
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, _FUNCTION) and node.name.startswith("test_")
]


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """By test: what it failed with, empty where it passed. One run, whoever asks first."""
    if not PYTHON.exists():
        pytest.skip("no .venv/fakesnow: make test makes it")
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    report = folder / "snowflake.xml"
    with (folder / "snowflake.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not report.exists():
            _run(report)
    found: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own file
        name = re.sub(
            r"\[.*", "", f"{case.get('classname', '').split('.')[-1]}::{case.get('name')}"
        )
        faults = [
            child.text or child.get("message") or child.tag
            for child in case
            if child.tag != "system-out"
        ]
        found[name] = found.get(name, "") + "\n".join(faults)
    return found


def _run(report: Path) -> None:
    command = [str(PYTHON), "-m"]
    if coverage.Coverage.current() is not None:
        # Its data lies where that of the other processes does, and is combined with it.
        rules = f"--rcfile={ROOT / 'pyproject.toml'}"
        command += ["coverage", "run", rules, "--concurrency=thread", "-m"]
    settings = ["-c", str(ROOT / "tests" / "snowflake" / "pytest.ini"), "--rootdir", str(ROOT)]
    done = subprocess.run(
        [*command, "pytest", "-q", *settings, f"--junitxml={report}", *map(str, SUITES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env={**os.environ, "COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""},
    )
    assert report.exists(), done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.parametrize("name", TESTS)
def test_on_snowflake(outcomes: Mapping[str, str], name: str) -> None:
    """The promise of this name holds on Snowflake too."""
    assert outcomes[name] == ""

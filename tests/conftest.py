"""What every test gets: a clean environment, and databases of its own."""

import asyncio
import os
import shutil
import uuid
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres_server import NoServerError, PostgresServer, running_server

_ROOT = Path(__file__).parent.parent

#: Settings of the person who runs the tests; none of them may reach a test.
_SCRUBBED = ("AWS_", "OUTDIAL_", "PG", "RETELL_", "SNOWFLAKE_")

# Tests change the working directory; what Hypothesis learns stays in one place.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(_ROOT / ".hypothesis"))
# No deadline: a busy machine is no fault of the code under test.
settings.register_profile("dev", deadline=None)
settings.register_profile(
    "ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--require-all`, for where everything is there to run every test (CI)."""
    parser.addoption(
        "--require-all",
        action="store_true",
        help="a test that would be skipped fails",
    )


def pytest_configure() -> None:
    """Scrub the environment once, so that child processes and long-lived fixtures are clean too."""
    for name in list(os.environ):
        if name.startswith(_SCRUBBED) or name.lower().endswith("_proxy"):
            del os.environ[name]


_R = TypeVar("_R", pytest.TestReport, pytest.CollectReport)


def _refuse_skip(report: _R, config: pytest.Config) -> _R:
    expected_failure = hasattr(report, "wasxfail")
    if report.outcome == "skipped" and not expected_failure and config.getoption("--require-all"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but every test has to run: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under `--require-all`, turn a skipped test into a failed one."""
    return _refuse_skip((yield), item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Likewise for a module that skips itself as a whole."""
    return _refuse_skip((yield), collector.config)


@pytest.fixture(autouse=True)
def outdial_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """`OUTDIAL_HOME`, fresh and not yet made; the working directory holds no `.env`."""
    home = tmp_path / "outdial-home"
    monkeypatch.setenv("OUTDIAL_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return home


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL, one a test process."""
    try:
        with running_server() as server:
            yield server
    except NoServerError as error:
        pytest.skip(f"no PostgreSQL: {error}")


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty PostgreSQL database of the test's own."""
    with postgres_server.database(f"test_{uuid.uuid4().hex}") as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database with the ledger's tables, to copy."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    _upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of an empty PostgreSQL database with the ledger's tables, to copy."""
    with postgres_server.database("ledger") as url:
        _upgrade(url)
        yield "ledger"


def _upgrade(url: str) -> None:
    # Imported here, for most tests need no database and it takes half a second.
    from outdial.adapters.database import schema  # noqa: PLC0415
    from outdial.adapters.database.engine import open_database  # noqa: PLC0415

    async def upgrade() -> None:
        database = open_database(url)
        try:
            await schema.upgrade(database)
        finally:
            await database.close()

    # In a thread, for the tests' own event loops are not to be disturbed.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, upgrade()).result()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated database of the test's own; each test runs on both kinds.

    It is a copy: 1 and 40 ms, where the migrations take 50 and 140.
    """
    if request.param == "sqlite":
        path = tmp_path / "ledger.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    template: str = request.getfixturevalue("postgres_template")
    with server.database(f"test_{uuid.uuid4().hex}", template) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of the test's own; each test runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/outdial.db"
    url: str = request.getfixturevalue("postgres_url")
    return url

"""What every test gets, system tests too: a clean environment, and a PostgreSQL that is real."""

import os
import signal
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres_server import NoServerError, PostgresServer, running_server

_ROOT = Path(__file__).parent

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
    # Shells have what they run in the background ignore Ctrl-C, and every child inherits that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in list(os.environ):
        if name.startswith(_SCRUBBED) or name.lower().endswith("_proxy"):
            del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest and mostly waits, so that the rest runs beside it."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests came to by chance, seeds among it, also where they passed.

    A test hands it on with `record_property("figures", text)`.
    """
    reports = [one for kind in ("passed", "failed") for one in terminalreporter.getreports(kind)]
    told = [
        (report.nodeid, text)
        for report in reports
        for name, text in getattr(report, "user_properties", ())
        if name == "figures"
    ]
    if told:
        terminalreporter.section("figures")
    for nodeid, text in sorted(told):
        terminalreporter.write_line(f"{nodeid}\n{text}")


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

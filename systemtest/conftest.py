"""What the system tests share: installations, and a real PostgreSQL."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from systemtest.installation import Installation
from tests.postgres_server import NoServerError, PostgresServer, running_server


def pytest_configure(config: pytest.Config) -> None:
    """What takes the better part of a minute can be left out: `-m "not long"`."""
    config.addinivalue_line("markers", "long: takes the better part of a minute")


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """A fresh one, everything embedded, and nothing running yet."""
    with Installation(tmp_path) as fresh:
        yield fresh


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
    """The URL of an empty database of the test's own."""
    with postgres_server.database(f"system_{uuid.uuid4().hex}") as url:
        yield url

"""What the system tests share: installations."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from systemtest.installation import Installation


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """A fresh one, everything embedded, and nothing running yet."""
    with Installation(tmp_path) as fresh:
        yield fresh

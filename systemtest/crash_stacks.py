"""What a crash test can run on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from systemtest.stacks import AwsStack, EmbeddedStack, Stack
from tests.postgres_server import running_server

STACKS = ("sqlite", "postgresql", "aws")


@dataclass(frozen=True)
class Parts:
    """One choice of parts, as `Installation` takes them."""

    name: str
    stack: Stack = field(default_factory=EmbeddedStack)
    settings: dict[str, str] = field(default_factory=dict)


@contextmanager
def parts_of(name: str) -> Iterator[Parts]:
    """One of `STACKS`, running: `postgresql` with a server of its own, `aws` on the emulator."""
    if name == "sqlite":
        yield Parts(name)
    elif name == "aws":
        yield Parts(name, AwsStack())
    else:
        with running_server() as server, server.database("crash_test") as url:
            yield Parts(name, settings={"database_url": url})

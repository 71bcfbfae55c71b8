"""What a crash test can run on."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from systemtest.stacks import AwsStack, EmbeddedStack, Stack
from tests.postgres_server import running_server

#: With more of them the emulator's Lambda falls behind: webhooks time out at the platform, which
#: gives them up, and what remains is a test of the reconciler.
_EMULATED = 12.0
STACKS = ("sqlite", "postgresql", "aws")


@dataclass(frozen=True)
class Parts:
    """One choice of parts, as `Installation` takes them.

    `most_calls`: how many a second they take beside everything else; without a limit by default.
    """

    name: str
    stack: Stack = field(default_factory=EmbeddedStack)
    settings: dict[str, str] = field(default_factory=dict)
    most_calls: float = math.inf


@contextmanager
def parts_of(name: str) -> Iterator[Parts]:
    """One of `STACKS`, running: `postgresql` with a server of its own, `aws` on the emulator."""
    if name == "sqlite":
        yield Parts(name)
    elif name == "aws":
        yield Parts(name, AwsStack(), most_calls=_EMULATED)
    else:
        with running_server() as server, server.database("crash_test") as url:
            yield Parts(name, settings={"database_url": url})

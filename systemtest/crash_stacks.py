"""What a crash test can run on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.postgres_server import running_server


@dataclass(frozen=True)
class Stack:
    """One choice of parts. `settings`: what chooses them, as `Installation` takes them."""

    name: str
    settings: dict[str, str] = field(default_factory=dict)


@contextmanager
def stack_of(name: str) -> Iterator[Stack]:
    """The stack of that name, running: `sqlite`, or `postgresql` with a server of its own."""
    if name == "sqlite":
        yield Stack(name)
        return
    if name != "postgresql":
        raise ValueError(f"{name} is none of {', '.join(STACKS)}")
    with running_server() as server, server.database("crash_test") as url:
        yield Stack(name, {"database_url": url})


STACKS = ("sqlite", "postgresql")

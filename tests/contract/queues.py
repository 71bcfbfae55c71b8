"""The queues that the contract suite runs on; a further adapter joins by one more function.

Each gives a `QueueMaker` and closes what was made. A queue that tells its own time (SQS) sleeps
in `advance`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from outdial.adapters.aws.addresses import queue_address
from outdial.adapters.aws.queue import SqsQueue
from outdial.adapters.memory import MemoryQueue
from outdial.adapters.sqlite_queue import QueueFile, SQLiteQueue
from outdial.ports.queue import Queue
from tests.aws_emulator import emulator


class ManualClock:
    """Milliseconds that pass when told to."""

    def __init__(self, now: int = 1_800_000_000_000) -> None:
        """Stands still at `now`."""
        self.now = now

    def __call__(self) -> int:
        """The time."""
        return self.now

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.now += round(seconds * 1000)


class MakesQueue(Protocol):
    """Gives a fresh queue of that name."""

    def __call__(
        self, name: str = "calls", *, visibility: float = 30.0, max_receives: int = 100
    ) -> Queue:
        """`visibility` in seconds."""
        ...


@dataclass(frozen=True)
class QueueMaker:
    """Makes queues that share a clock."""

    make: MakesQueue
    advance: Callable[[float], Awaitable[None]]


Queues = Callable[[Path], AbstractAsyncContextManager[QueueMaker]]


@asynccontextmanager
async def memory_queues(_: Path) -> AsyncIterator[QueueMaker]:
    """Queues in memory."""
    clock = ManualClock()

    def make(
        name: str = "calls", *, visibility: float = 30.0, max_receives: int = 100
    ) -> MemoryQueue:
        return MemoryQueue(name, clock=clock, visibility=visibility, max_receives=max_receives)

    yield QueueMaker(make, clock.advance)


@asynccontextmanager
async def sqlite_queues(folder: Path) -> AsyncIterator[QueueMaker]:
    """Queues in one SQLite file."""
    clock = ManualClock()
    file = QueueFile(folder / "queue.db", clock)

    def make(
        name: str = "calls", *, visibility: float = 30.0, max_receives: int = 100
    ) -> SQLiteQueue:
        return SQLiteQueue(file, name, visibility=visibility, max_receives=max_receives)

    yield QueueMaker(make, clock.advance)
    file.close()


@asynccontextmanager
async def sqs_queues(_: Path) -> AsyncIterator[QueueMaker]:
    """Queues on SQS, as its emulator gives them. Each name is a new queue; time really passes."""
    aws = emulator()
    made: list[SqsQueue] = []

    def make(name: str = "calls", *, visibility: float = 30.0, max_receives: int = 100) -> SqsQueue:
        url = aws.queue(name, visibility=round(visibility), max_receives=max_receives)
        address = queue_address(url)
        assert address is not None
        made.append(SqsQueue(address, name))
        return made[-1]

    with pytest.MonkeyPatch.context() as environment:
        for name, value in aws.environment.items():
            environment.setenv(name, value)
        yield QueueMaker(make, asyncio.sleep)
        for queue in made:
            await queue.close()


ALL: tuple[Queues, ...] = (memory_queues, sqlite_queues, sqs_queues)

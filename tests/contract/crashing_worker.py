"""Sends, receives and deletes until it is killed; tells each step before and after, unbuffered."""

import asyncio
import itertools
import os
import sys
from pathlib import Path

from outdial.adapters.sqlite_queue import QueueFile, SQLiteQueue
from outdial.ports.queue import Outgoing


def tell(step: str, bodies: list[str]) -> None:
    """One write, so that a kill can't cut a line that was begun."""
    os.write(1, f"{step} {' '.join(bodies)}\n".encode())


async def send(queue: SQLiteQueue, prefix: str) -> None:
    """Send batches of three for ever."""
    for number in itertools.count():
        bodies = [f"{prefix}-{number}-{part}" for part in range(3)]
        await queue.send([Outgoing(body) for body in bodies])
        tell("sent", bodies)


async def work_off(queue: SQLiteQueue) -> None:
    """Receive and delete for ever, slower than is sent."""
    while True:
        messages = await queue.receive(2, wait=1)
        bodies = [each.body for each in messages]
        tell("deleting", bodies)
        await queue.delete(messages)
        tell("deleted", bodies)


async def main(path: Path, prefix: str) -> None:
    """All at once."""
    queue = SQLiteQueue(QueueFile(path), "calls")
    async with asyncio.TaskGroup() as group:
        for sender in range(4):
            group.create_task(send(queue, f"{prefix}-{sender}"))
        for _ in range(4):
            group.create_task(work_off(queue))


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))

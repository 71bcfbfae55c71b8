"""A service on a loop of its own, for tools that ask from a thread that waits."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

_PATIENCE = 30


@contextlib.contextmanager
def threaded(running: "Callable[[], contextlib.AbstractAsyncContextManager[T]]") -> Iterator[T]:
    """What `running()` gives, in a thread while the block lasts."""
    given: list[T] = []
    up = threading.Event()
    stop = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        async with running() as service:
            given.append(service)
            up.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert up.wait(_PATIENCE)
    try:
        yield given[0]
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(_PATIENCE)

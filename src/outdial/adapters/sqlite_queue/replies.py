"""How an answer gets from the writer's thread to whoever waits for it."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from outdial.errors import OutdialError


class ThreadReply:
    """For a caller that blocks its own thread."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._done = threading.Event()
        self._result: Any = None
        self.abandoned = False

    def set(self, result: object) -> None:
        """Let the caller go on."""
        self._result = result
        self._done.set()

    def wait(self) -> Any:  # noqa: ANN401 - what the work gave
        """The result; raises the error it ended with."""
        self._done.wait()
        if isinstance(self._result, OutdialError):
            raise self._result
        return self._result


class LoopReply:
    """For a coroutine. `refuse` gets a result that came after the coroutine was cancelled."""

    def __init__(self, refuse: Callable[[Any], None] | None = None) -> None:
        """Belongs to the running loop."""
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self._refuse = refuse

    @property
    def abandoned(self) -> bool:
        """Whether the coroutine was cancelled."""
        return self.future.cancelled()

    def settle(self, result: object) -> None:
        """Wake the coroutine; in the loop's own thread."""
        if self.future.cancelled():
            if self._refuse is not None and not isinstance(result, OutdialError):
                self._refuse(result)
        elif isinstance(result, OutdialError):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


Reply = ThreadReply | LoopReply


def deliver(answers: Iterable[tuple[Reply, object]]) -> None:
    """Hand out the answers of one commit: each loop is woken once, however many they are."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[LoopReply, object]]] = {}
    for reply, result in answers:
        if isinstance(reply, LoopReply):
            by_loop.setdefault(reply.loop, []).append((reply, result))
        else:
            reply.set(result)
    for loop, group in by_loop.items():
        # A loop that is closed waits for nothing; what it received comes back by itself.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, group)


def _settle(group: list[tuple[LoopReply, object]]) -> None:
    for reply, result in group:
        reply.settle(result)

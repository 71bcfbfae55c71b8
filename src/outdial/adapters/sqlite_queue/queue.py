"""The queue port over a queue file."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from outdial.adapters.sqlite_queue.file import QueueFile, Waiter, Work
from outdial.adapters.sqlite_queue.replies import LoopReply, ThreadReply
from outdial.adapters.sqlite_queue.store import Receive, Store
from outdial.errors import Unavailable
from outdial.ports.queue import (
    MAX_BATCH,
    DeadLetter,
    Depth,
    Outgoing,
    Received,
    check_message,
    check_visibility,
)

T = TypeVar("T")


class SQLiteQueue:
    """One named queue in a queue file. Usable from any loop; `send_sync` from any thread."""

    def __init__(
        self, file: QueueFile, name: str, *, visibility: float = 30.0, max_receives: int = 100
    ) -> None:
        """`visibility`: seconds that a received message stays invisible by default."""
        self._file = file
        self._name = name
        self._visibility = visibility
        self._max_receives = max_receives
        self._dependency = f"{name.removesuffix('s')} queue"
        self._closed = False

    @property
    def name(self) -> str:
        """`calls` or `events`."""
        return self._name

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Store all in one commit: all or none."""
        if messages:
            await self._do(self._sending(messages))

    def send_sync(self, messages: Sequence[Outgoing]) -> None:
        """`send` for code that is not asynchronous; blocks the thread until the commit."""
        if messages:
            reply = ThreadReply()
            self._file.submit(Work(self._sending(messages), reply, self._dependency))
            reply.wait()

    async def receive(
        self, limit: int = MAX_BATCH, wait: float = 0.0, visibility: float | None = None
    ) -> list[Received]:
        """See the port. Cancelled while the answer is under way, it gives the messages back."""
        if self._closed or limit <= 0:
            return []
        seconds = self._visibility if visibility is None else visibility
        ask = Receive(self._name, round(check_visibility(seconds) * 1000), self._max_receives)
        reply = LoopReply(self._give_back)
        until = time.monotonic() + wait
        self._file.submit(Waiter(ask, limit, reply, self._dependency, until, owner=self))
        messages: list[Received] = await reply.future
        return messages

    async def delete(self, messages: Sequence[Received]) -> None:
        """See the port. A receipt holds until the message is received again."""
        if messages:
            await self._do(lambda store, _: store.delete(self._name, messages))

    async def change_visibility(self, messages: Sequence[Received], seconds: float) -> None:
        """See the port. A receipt holds until the message is received again."""
        if messages:
            await self._do(self._make_visible(messages, round(check_visibility(seconds) * 1000)))

    async def dead_letter(self, message: Received, reason: str, stage: str) -> None:
        """See the port; one commit, and nothing where the receipt no longer holds."""
        # A reason may quote what it was sent: half a surrogate pair is no text to SQLite.
        told = reason.encode(errors="replace").decode()
        await self._do(lambda store, now: store.dead_letter(self._name, message, told, stage, now))

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """See the port."""
        return await self._do(lambda store, _: store.dead_letters(self._name, limit))

    async def redrive(self, ids: Sequence[str] | None = None) -> int:
        """See the port. They come back as new messages, with a new id and count."""
        return await self._do(lambda store, now: store.redrive(self._name, ids, now))

    async def depth(self) -> Depth:
        """See the port. A message waiting out a back-off counts as in flight."""
        return await self._do(lambda store, now: store.depth(self._name, now))

    async def close(self) -> None:
        """End this queue's waits. The file is its owner's to close."""
        self._closed = True
        self._file.leave(self)

    async def _do(self, run: Callable[[Store, int], T]) -> T:
        reply = LoopReply()
        self._file.submit(Work(run, reply, self._dependency))
        result: T = await reply.future
        return result

    def _sending(self, messages: Sequence[Outgoing]) -> Callable[[Store, int], None]:
        for each in messages:
            check_message(each)
        return lambda store, now: store.send(self._name, messages, now)

    def _make_visible(
        self, messages: Sequence[Received], milliseconds: int
    ) -> Callable[[Store, int], None]:
        return lambda store, now: store.change_visibility(self._name, messages, now + milliseconds)

    def _give_back(self, messages: list[Received]) -> None:
        with suppress(Unavailable):
            self._file.submit(
                Work(self._make_visible(messages, 0), ThreadReply(), self._dependency)
            )

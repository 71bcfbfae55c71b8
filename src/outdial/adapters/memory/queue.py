"""A queue in memory, for tests: the same promises but the one that it outlives the process."""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from outdial.ports.queue import (
    MAX_BATCH,
    DeadLetter,
    Depth,
    Outgoing,
    Received,
    check_message,
    check_visibility,
)

#: Seconds after which a waiting receive looks again, for the clock may have been moved by hand.
_LOOK = 0.02


@dataclass(slots=True)
class _Message:
    """A message that lies in the queue."""

    id: int
    body: str
    sent_at: int
    visible_at: int
    receive_count: int = 0


class MemoryQueue:
    """Oldest due first. `send_sync` may be called from any thread."""

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        visibility: float = 30.0,
        max_receives: int = 100,
    ) -> None:
        """`clock`: milliseconds since the epoch. `visibility`: seconds, the default."""
        self._name = name
        self._clock = clock
        self._visibility = visibility
        self._max_receives = max_receives
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._messages: dict[int, _Message] = {}
        self._dead: dict[int, DeadLetter] = {}
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self._closed = False

    @property
    def name(self) -> str:
        """`calls` or `events`."""
        return self._name

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """See the port."""
        self.send_sync(messages)

    def send_sync(self, messages: Sequence[Outgoing]) -> None:
        """`send` for code that is not asynchronous."""
        for each in messages:
            check_message(each)
        now = self._clock()
        with self._lock:
            for each in messages:
                self._append(each.body, now, now + 1000 * each.delay_seconds)
        self._wake()

    async def receive(
        self, limit: int = MAX_BATCH, wait: float = 0.0, visibility: float | None = None
    ) -> list[Received]:
        """See the port."""
        until = time.monotonic() + wait
        seconds = self._visibility if visibility is None else visibility
        milliseconds = round(1000 * check_visibility(seconds))
        changed = asyncio.Event()
        self._waiting[changed] = asyncio.get_running_loop()
        try:
            while not self._closed:
                changed.clear()
                messages = self._take(limit, milliseconds)
                left = until - time.monotonic()
                if messages or left <= 0:
                    return messages
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), min(left, _LOOK))
            return []
        finally:
            del self._waiting[changed]

    def _take(self, limit: int, visibility: int) -> list[Received]:
        now = self._clock()
        received: list[Received] = []
        with self._lock:
            due = [each for each in self._messages.values() if each.visible_at <= now]
            due.sort(key=lambda each: each.visible_at)
            for message in due:
                if len(received) >= limit:
                    break
                if message.receive_count >= self._max_receives:
                    reason = f"received {self._max_receives} times without an end"
                    self._bury(message, reason, "queue")
                    continue
                message.receive_count += 1
                message.visible_at = now + visibility
                received.append(
                    Received(
                        id=str(message.id),
                        body=message.body,
                        receipt=f"{message.id}.{message.receive_count}",
                        receive_count=message.receive_count,
                        sent_at=message.sent_at,
                    )
                )
        return received

    async def delete(self, messages: Sequence[Received]) -> None:
        """See the port."""
        with self._lock:
            for message in self._held(messages):
                del self._messages[message.id]

    async def change_visibility(self, messages: Sequence[Received], seconds: float) -> None:
        """See the port."""
        visible_at = self._clock() + round(1000 * check_visibility(seconds))
        with self._lock:
            for message in self._held(messages):
                message.visible_at = visible_at
        self._wake()

    async def dead_letter(self, message: Received, reason: str, stage: str) -> None:
        """See the port."""
        with self._lock:
            for held in self._held([message]):
                self._bury(held, reason, stage)

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """See the port."""
        with self._lock:
            return list(self._dead.values())[:limit]

    async def redrive(self, ids: Sequence[str] | None = None) -> int:
        """See the port."""
        now = self._clock()
        with self._lock:
            chosen = [key for key, dead in self._dead.items() if ids is None or dead.id in ids]
            for key in chosen:
                self._append(self._dead.pop(key).body, now, now)
        self._wake()
        return len(chosen)

    async def depth(self) -> Depth:
        """See the port."""
        now = self._clock()
        with self._lock:
            hidden = [each for each in self._messages.values() if each.visible_at > now]
            in_flight = sum(each.receive_count > 0 for each in hidden)
            return Depth(
                visible=len(self._messages) - len(hidden),
                in_flight=in_flight,
                delayed=len(hidden) - in_flight,
                dead=len(self._dead),
            )

    async def close(self) -> None:
        """See the port."""
        self._closed = True
        self._wake()

    def _append(self, body: str, now: int, visible_at: int) -> None:
        id_ = next(self._ids)
        self._messages[id_] = _Message(id_, body, now, visible_at)

    def _held(self, messages: Sequence[Received]) -> list[_Message]:
        """Those whose receipts hold."""
        receipts = {each.receipt for each in messages}
        ids = {int(each.id) for each in messages if each.id.isdecimal()}
        candidates = [self._messages[id_] for id_ in ids if id_ in self._messages]
        return [each for each in candidates if f"{each.id}.{each.receive_count}" in receipts]

    def _bury(self, message: _Message, reason: str, stage: str) -> None:
        del self._messages[message.id]
        self._dead[message.id] = DeadLetter(
            id=str(message.id),
            body=message.body,
            reason=reason,
            stage=stage,
            receive_count=message.receive_count,
            sent_at=message.sent_at,
            dead_at=self._clock(),
        )

    def _wake(self) -> None:
        for changed, loop in list(self._waiting.items()):
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(changed.set)

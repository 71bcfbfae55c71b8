"""Entries of many callers in requests of ten: SQS charges and answers by the request.

An entry goes out at once while few requests are under way. Under load it waits for one of them to
end, and what came meanwhile shares the next.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from outdial.errors import OutdialError
from outdial.ports.queue import MAX_BATCH, MAX_MESSAGE_BYTES

Fields = Mapping[str, object]
#: Makes one request; gives what went wrong with each entry, in order, or raises for all of them.
Carry = Callable[[Sequence[Fields]], Awaitable[Sequence[OutdialError | None]]]


@dataclass(slots=True, eq=False)
class _Entry:
    fields: Fields
    size: int
    done: "asyncio.Future[None]"


class Batches:
    """Carries entries, ten a request and one MiB at most, several requests at once."""

    def __init__(
        self, carry: Carry, *, at_once: int = 8, most_bytes: int = MAX_MESSAGE_BYTES
    ) -> None:
        """`at_once`: requests under way. `most_bytes`: of a request of more than one entry."""
        self._carry = carry
        self._at_once = at_once
        self._most_bytes = most_bytes
        self._waiting: deque[_Entry] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._flushing = False

    async def put(self, entries: Sequence[tuple[Fields, int]]) -> None:
        """Carry all of `entries`, each with its size in bytes; raises what went wrong first."""
        loop = asyncio.get_running_loop()
        mine = [_Entry(fields, size, loop.create_future()) for fields, size in entries]
        self._waiting.extend(mine)
        if not self._flushing:
            # Not at once: what other tasks put in this turn of the loop goes with it.
            self._flushing = True
            loop.call_soon(self._flush)
        outcomes = await asyncio.gather(*(each.done for each in mine), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def drain(self) -> None:
        """Return when nothing is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _flush(self) -> None:
        self._flushing = False
        while self._waiting and len(self._under_way) < self._at_once:
            batch = self._next()
            if batch:
                task = asyncio.create_task(self._send(batch))
                self._under_way.add(task)
                task.add_done_callback(self._ended)

    def _next(self) -> list[_Entry]:
        batch: list[_Entry] = []
        size = 0
        while self._waiting and len(batch) < MAX_BATCH:
            entry = self._waiting[0]
            if batch and size + entry.size > self._most_bytes:
                break
            self._waiting.popleft()
            # Nobody waits for it any more: its caller was cancelled.
            if not entry.done.done():
                batch.append(entry)
                size += entry.size
        return batch

    async def _send(self, batch: Sequence[_Entry]) -> None:
        try:
            outcomes = await self._carry([entry.fields for entry in batch])
        except OutdialError as error:
            outcomes = [error] * len(batch)
        except BaseException:
            # A fault of ours, or the end: whoever waits must not do so for ever.
            for entry in batch:
                entry.done.cancel()
            raise
        for entry, outcome in zip(batch, outcomes, strict=True):
            if entry.done.done():
                continue
            if outcome is None:
                entry.done.set_result(None)
            else:
                entry.done.set_exception(outcome)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        self._flush()

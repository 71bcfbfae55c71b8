"""Requests that come together share a commit."""

import asyncio
from collections.abc import Sequence

from outdial.core.call import CallStatus
from outdial.errors import Unavailable
from outdial.internal_api.hints import Hints
from outdial.ports.intake import Accepted, Intake, KeyConflict, NewCall
from outdial.telemetry import CALLS_ACCEPTED

#: Calls a commit.
MOST_A_COMMIT = 500

_Answer = Accepted | KeyConflict
_Waiting = tuple[NewCall, "asyncio.Future[_Answer]"]


class Commits:
    """Stores calls; while one commit is under way, the next one gathers.

    The commits run in a task of their own: a caller that goes away leaves its call either stored
    or not begun.
    """

    def __init__(self, intake: Intake, hints: Hints) -> None:
        """`hints` get the calls that are due."""
        self._intake = intake
        self._hints = hints
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None

    async def accept(self, call: NewCall) -> _Answer:
        """Store one call; returns when it is durable. Raises `Unavailable`."""
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, answer))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all())
        return await answer

    async def accept_batch(self, calls: Sequence[NewCall]) -> list[_Answer | Unavailable]:
        """Store calls, an answer each in their order; after one `Unavailable` all are."""
        answers: list[_Answer | Unavailable] = []
        while len(answers) < len(calls):
            group = calls[len(answers) : len(answers) + MOST_A_COMMIT]
            try:
                answers += await self._commit(group, "batch")
            except Unavailable as error:
                answers += [error] * (len(calls) - len(answers))
        return answers

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._writer is not None:
            await asyncio.wait({self._writer})

    async def _write_all(self) -> None:
        while self._waiting:
            taken = self._waiting[:MOST_A_COMMIT]
            del self._waiting[:MOST_A_COMMIT]
            calls = [call for call, _ in taken]
            commit = asyncio.create_task(self._commit(calls, "single"))
            await asyncio.wait({commit})
            _settle([answer for _, answer in taken], commit)

    async def _commit(self, calls: Sequence[NewCall], route: str) -> list[_Answer]:
        publish = await self._hints.room_for(len(calls))
        answers = await self._intake.accept(calls, publish=publish)
        fresh = [
            (call, answer)
            for call, answer in zip(calls, answers, strict=True)
            if isinstance(answer, Accepted) and not answer.replayed
        ]
        if publish:
            self._hints.offer(
                [call for call, answer in fresh if answer.status is CallStatus.QUEUED]
            )
        CALLS_ACCEPTED.labels(route, "stored").inc(len(fresh))
        CALLS_ACCEPTED.labels(route, "known").inc(len(calls) - len(fresh))
        return answers


def _settle(
    waiting: Sequence["asyncio.Future[_Answer]"], commit: "asyncio.Future[list[_Answer]]"
) -> None:
    error = commit.exception()
    for place, future in enumerate(waiting):
        if future.done():  # its caller went away
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(commit.result()[place])

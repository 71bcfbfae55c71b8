"""A stream of rows through the Voice API's batch route: nothing twice, whatever breaks off."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from outdial.client import ApiError, BatchAnswer, CallRequest, Problem
from outdial.contacts.columns import NUMBER
from outdial.contacts.errors import UnusableRowError
from outdial.contacts.reader import Row

#: Rows a request.
ROWS = 250
#: Bytes a request, about: rows may be up to 1 MB each.
BYTES = 8_388_608
#: Seconds before asking an API again that does not answer, at first and at most.
FIRST_WAIT, LAST_WAIT = 0.5, 10.0

#: Says why the Voice API would refuse a line of a batch, or None.
Judge = Callable[[Mapping[str, Any]], str | None]

#: In the place of a number that is wrong, where only the other fields are judged.
ANY_NUMBER = "+14155550100"
_KNOWN = frozenset(field.name for field in fields(CallRequest))


class BatchApi(Protocol):
    """What of `outdial.client.Client` is used."""

    def place_batch(self, calls: Sequence[CallRequest]) -> AsyncIterator[BatchAnswer]:
        """Place calls; an answer each, in their order. Raises `ApiError`."""
        ...


@dataclass
class Tally:
    """What became of the rows so far.

    `replayed`: calls that an earlier import (or an earlier try) had placed. `duplicates`: persons
    that were in the file before. `rejected`: rows that could not be placed, with their reason in
    the rejected file.
    """

    rows: int = 0
    accepted: int = 0
    replayed: int = 0
    duplicates: int = 0
    rejected: int = 0


class Placing:
    """One import under way.

    `reject(row, reason)` is called for every row that is not placed; `moved()` after each step;
    `waiting(error)` when the API stops answering, once a time; `judge(body)` says why the API would
    refuse a body, or None: so that a row which never gets there is told all its faults at once.
    """

    def __init__(
        self,
        api: BatchApi,
        reject: Callable[[Row, str], None],
        moved: Callable[[], None],
        waiting: Callable[[ApiError], None],
        judge: Judge,
    ) -> None:
        """Nothing happens before `run`."""
        self._api = api
        self._reject = reject
        self._moved = moved
        self._waiting = waiting
        self._judge = judge
        self.tally = Tally()

    async def run(self, rows: Iterator[Row]) -> Tally:
        """Place all rows. Raises `ApiError` for what waiting does not mend (a wrong key)."""
        ready = await asyncio.to_thread(_chunk, rows)
        while ready:
            # The next rows are read while these are on their way.
            following = asyncio.create_task(asyncio.to_thread(_chunk, rows))
            try:
                await self._place(ready)
            finally:
                ready = await following
        return self.tally

    def check(self, rows: Iterator[Row]) -> Tally:
        """Place none; what the Voice API would refuse is rejected."""
        for row in rows:
            self.tally.rows += 1
            call = self._request(row)
            if call is not None and (reason := self._judge(row.request or {})) is not None:
                self._refuse(row, reason)
            elif call is not None:
                self.tally.accepted += 1
            if self.tally.rows % ROWS == 0:
                self._moved()
        return self.tally

    async def _place(self, rows: Sequence[Row]) -> None:
        self.tally.rows += len(rows)
        asked = [(row, call) for row in rows if (call := self._request(row)) is not None]
        wait = FIRST_WAIT
        while asked:
            answered = 0
            try:
                async for answer in self._api.place_batch([call for _, call in asked]):
                    self._settle(asked[answered][0], answer)
                    answered += 1
            except ApiError as error:
                if not (error.problem.passing or error.problem.status == 429):
                    raise
                if answered == 0 and wait == FIRST_WAIT:
                    self._waiting(error)
                await asyncio.sleep(error.retry_after or wait)
                wait = min(wait * 2, LAST_WAIT)
            # What was not answered is asked again: its key makes that safe.
            del asked[:answered]
            self._moved()
        self._moved()

    def _request(self, row: Row) -> CallRequest | None:
        if row.duplicate_of is not None:
            self.tally.duplicates += 1
            self._reject(row, row.reason or "")
        elif row.request is None:
            self._refuse(row, self._with_more(row.reason or "", row.draft))
        else:
            try:
                return call_request(row.request)
            except UnusableRowError as error:
                self._refuse(row, self._with_more(str(error), error.draft))
        return None

    def _with_more(self, found: str, draft: dict[str, Any] | None) -> str:
        """A reason with all else that the API would refuse."""
        more = None if draft is None else self._judge({NUMBER: ANY_NUMBER, **draft})
        return found if more is None else f"{found}; {more}"

    def _refuse(self, row: Row, reason: str) -> None:
        self.tally.rejected += 1
        self._reject(row, reason)

    def _settle(self, row: Row, answer: BatchAnswer) -> None:
        if answer.problem is not None:
            self._refuse(row, reason(answer.problem))
        elif answer.replayed:
            self.tally.replayed += 1
        else:
            self.tally.accepted += 1


def call_request(request: dict[str, Any]) -> CallRequest:
    """The client's request; `UnusableRowError` names fields that the Voice API does not know."""
    unknown = sorted(request.keys() - _KNOWN)
    if unknown:
        raise UnusableRowError(
            f"unknown field {', '.join(unknown)}; what the agent says goes into dynamic_variables",
            {name: value for name, value in request.items() if name in _KNOWN},
        )
    return CallRequest(**request)


def reason(problem: Problem) -> str:
    """Why a row was refused, for whoever corrects it: every fault, by the name of its field."""
    if problem.status == 422 and "idempotency" in f"{problem.type} {problem.title}".lower():
        return (
            "placed before with other details, and left as it was: cancel that call, or name "
            f"another --campaign ({problem.summary})"
        )
    faults = [f"{fault.pointer.removeprefix('#/')}: {fault.detail}" for fault in problem.errors]
    return "; ".join(faults) or problem.summary


def _chunk(rows: Iterator[Row]) -> list[Row]:
    chunk: list[Row] = []
    size = 0
    for row in itertools.islice(rows, ROWS):
        chunk.append(row)
        size += sum(map(len, row.cells))
        if size > BYTES:
            break
    return chunk

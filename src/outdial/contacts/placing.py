"""A stream of rows through the Voice API's batch route: nothing twice, whatever breaks off."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

from outdial.client import ApiError, BatchAnswer, Call, CallRequest, Problem
from outdial.contacts.columns import NUMBER
from outdial.contacts.errors import UnusableRowError
from outdial.contacts.identity import KEY, Known
from outdial.contacts.reader import Row
from outdial.contacts.seen import Seen

#: Rows a request.
ROWS = 250
#: Bytes a request, about: rows may be up to 1 MB each.
BYTES = 8_388_608
#: Seconds before asking an API again that does not answer, at first and at most.
FIRST_WAIT, LAST_WAIT = 0.5, 10.0

#: Calls of earlier imports that are looked up for what they were placed with; the rest is named.
LOOKED_UP = 100

#: Says why the Voice API would refuse a line of a batch, or None.
Judge = Callable[[Mapping[str, Any]], str | None]

#: In the place of a number that is wrong, where only the other fields are judged.
ANY_NUMBER = "+14155550100"
_KNOWN = frozenset(field.name for field in fields(CallRequest))
_USED = "urn:outdial:problem:idempotency-key-reused"
_CALL = re.compile(r"for call (\S+)")


class BatchApi(Protocol):
    """What of `outdial.client.Client` is used."""

    def place_batch(self, calls: Sequence[CallRequest]) -> AsyncIterator[BatchAnswer]:
        """Place calls; an answer each, in their order. Raises `ApiError`."""
        ...

    async def get(self, call_id: str) -> Call:
        """A call. Raises `ApiError`."""
        ...


@dataclass
class Tally:
    """What became of the rows so far.

    `replayed`: calls that an earlier import (or an earlier try) had placed, with the same details.
    `duplicates`: rows left out since their person is called already, for an earlier row of the
    file or by an import before it with other details. `rejected`: rows that could not be placed.
    """

    rows: int = 0
    accepted: int = 0
    replayed: int = 0
    duplicates: int = 0
    rejected: int = 0


class Placing:
    """One import under way.

    `reject(row, reason)` is called for every row that can't be placed, `duplicate(row, reason)` for
    those left out as duplicates; `moved()` after each step; `waiting(error)` when the API stops
    answering, once a time; `judge(body)` says why the API would refuse a body, or None: so that a
    row which never gets there is told all its faults at once.
    """

    def __init__(  # noqa: PLR0913 - a callback each
        self,
        api: BatchApi,
        *,
        reject: Callable[[Row, str], None],
        duplicate: Callable[[Row, str], None],
        moved: Callable[[], None],
        waiting: Callable[[ApiError], None],
        judge: Judge,
    ) -> None:
        """Nothing happens before `run`."""
        self._api = api
        self._reject = reject
        self._duplicate = duplicate
        self._moved = moved
        self._waiting = waiting
        self._judge = judge
        # Rows shadow later ones only once they are placed: a refused row has called nobody.
        self._placed = Seen()
        self._looked_up = 0
        self.tally = Tally()

    async def run(self, rows: Iterator[Row]) -> Tally:
        """Place all rows. Raises `ApiError` for what waiting does not mend (a wrong key)."""
        with self._placed:
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
        with self._placed:
            for row in rows:
                self.tally.rows += 1
                if (asked := self._request(row)) is None:
                    pass
                elif (reason := self._judge(row.request or {})) is not None:
                    self._refuse(row, reason)
                else:
                    self.tally.accepted += 1
                    self._mark(asked)
                if self.tally.rows % ROWS == 0:
                    self._moved()
        return self.tally

    async def _place(self, rows: Sequence[Row]) -> None:
        self.tally.rows += len(rows)
        asked = [found for row in rows if (found := self._request(row)) is not None]
        wait = FIRST_WAIT
        others: list[_Asked] = []
        known: list[tuple[Row, Problem]] = []
        while asked:
            answered = 0
            try:
                async for answer in self._api.place_batch([one.call for one in asked]):
                    self._settle(asked[answered], answer, others, known)
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
            if not asked:
                asked, others = others, []
            self._moved()
        for row, problem in known:
            self._leave(row, await self._before(row, problem))
        self._moved()

    def _request(self, row: Row) -> "_Asked | None":
        """What to ask for a row; None where it is settled without asking."""
        if row.request is None:
            self._refuse(row, self._with_more(row.reason or "", row.draft))
            return None
        try:
            call = call_request(row.request)
        except UnusableRowError as error:
            self._refuse(row, self._with_more(str(error), error.draft))
            return None
        asked = _Asked(row, call, row.known or Known(call.idempotency_key))
        earlier = self._placed.first(asked.known.key)
        if earlier is None:
            return asked
        if asked.known.other_key is not None:
            return asked.otherwise()
        self._leave(row, _same(asked.known, earlier))
        return None

    def _with_more(self, found: str, draft: dict[str, Any] | None) -> str:
        """A reason with all else that the API would refuse."""
        more = None if draft is None else self._judge({NUMBER: ANY_NUMBER, **draft})
        return found if more is None else f"{found}; {more}"

    def _refuse(self, row: Row, reason: str) -> None:
        self.tally.rejected += 1
        self._reject(row, reason)

    def _leave(self, row: Row, reason: str) -> None:
        self.tally.duplicates += 1
        self._duplicate(row, reason)

    def _mark(self, asked: "_Asked") -> None:
        self._placed.add(asked.known.key, asked.row.row)

    def _settle(
        self,
        asked: "_Asked",
        answer: BatchAnswer,
        others: list["_Asked"],
        known: list[tuple[Row, Problem]],
    ) -> None:
        """Count an answer; `others` is asked next, `known` was placed by earlier imports."""
        used = answer.problem is not None and answer.problem.type == _USED
        if answer.problem is not None and not used:
            self._refuse(asked.row, reason(answer.problem))
        elif used and asked.known.other_key is not None:
            others.append(asked.otherwise())
        elif (earlier := self._placed.first(asked.known.key)) is not None:
            self._leave(asked.row, _same(asked.known, earlier))
        elif answer.problem is not None:
            known.append((asked.row, answer.problem))
        else:
            self._mark(asked)
            if answer.replayed:
                self.tally.replayed += 1
            else:
                self.tally.accepted += 1

    async def _before(self, row: Row, problem: Problem) -> str:
        """That an earlier import placed the row's person, with what, and how to call again."""
        found = _CALL.search(problem.detail or "")
        told = f" (call {found[1]})" if found else ""
        if found and self._looked_up < LOOKED_UP:
            self._looked_up += 1
            try:
                call = await self._api.get(found[1])
            except ApiError:
                # Only a detail for people: the row is left out all the same.
                pass
            else:
                if call.external_id is not None:
                    told = f" (external id {call.external_id}, call {found[1]})"
        if row.known is not None and row.known.by == KEY:
            how = f"another {KEY} calls again"
        else:
            how = "another campaign name or --allow-duplicates calls again"
        return f"placed before with other details{told}; {how}"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A row on its way, and what it is known by there."""

    row: Row
    call: CallRequest
    known: Known

    def otherwise(self) -> "_Asked":
        """The same with its other key."""
        key = self.known.other_key
        return _Asked(self.row, replace(self.call, idempotency_key=key), Known(key, self.known.by))


def _same(known: Known, earlier: int) -> str:
    told = f"the same {known.by} as row {earlier}"
    return told if known.by == KEY else f"{told}: --allow-duplicates would call again"


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

"""Many calls at once: read, stored and answered piece by piece, never held whole.

Every chunk of the body is a group: its calls are committed together, answered, and only then is
more read, so a slow database slows the sender down and nothing piles up here.
"""

from collections.abc import AsyncIterator, Sequence

from starlette.requests import Request
from starlette.responses import Response

from outdial.errors import Unavailable
from outdial.http_common.auth import Authentication
from outdial.http_common.bodies import JSON, chunks, decode, require_media_type
from outdial.http_common.problems import Fault, Problem, ProblemError, away, invalid
from outdial.internal_api.answers import NDJSON, Entry, StreamedAnswers
from outdial.internal_api.calls import KEY_HEADER
from outdial.internal_api.commits import MOST_A_COMMIT
from outdial.internal_api.pieces import Elements, Lines, Piece, Splitter
from outdial.internal_api.placing import Placing, key_conflict
from outdial.internal_api.reading import read_key
from outdial.ports.intake import Accepted, KeyConflict, NewCall
from outdial.ports.keys import Scope

LARGEST_BATCH = 256 * 1_048_576
KEY_FIELD = "idempotency_key"

_Read = NewCall | Accepted | Problem
_KEY_POINTER = f"#/{KEY_FIELD}"


class Batches:
    """`POST /v1/calls/batch`."""

    def __init__(self, placing: Placing, authentication: Authentication) -> None:
        """It authenticates before it reads anything."""
        self._placing = placing
        self._authentication = authentication

    async def place(self, request: Request) -> Response:
        """Place many calls, an answer each in their order, each after its commit."""
        caller = await self._authentication.caller(request, Scope.CALLS_WRITE)
        form = require_media_type(request, NDJSON, JSON)
        if KEY_HEADER in request.headers:
            # Passed over, it would promise what it does not do: a repetition would dial again.
            detail = f"is for single calls; give each line of a batch its own `{KEY_FIELD}`"
            raise ProblemError(invalid([Fault(KEY_HEADER, detail)]))
        splitter = Lines() if form == NDJSON else Elements()
        answers = _Batch(self._placing, caller.tenant).answers(request, splitter)
        # The first answers decide whether this is a 200 at all.
        first = await anext(answers, None)
        return StreamedAnswers(first or [], answers, form)


class _Batch:
    """One request under way. `_lost` is set once the database does not answer."""

    def __init__(self, placing: Placing, tenant: str) -> None:
        self._placing = placing
        self._tenant = tenant
        self._answered = False
        self._lost: Unavailable | None = None

    async def answers(self, request: Request, splitter: Splitter) -> AsyncIterator[Sequence[Entry]]:
        """Answers in groups; raises only while nothing has been answered."""
        try:
            async for chunk in chunks(request, LARGEST_BATCH):
                for group in _groups(splitter.feed(chunk)):
                    yield await self._answer(group)
                if splitter.over:
                    return
            for group in _groups(splitter.finish()):
                yield await self._answer(group)
        except ProblemError as error:
            # Too large in all, or no array: where this is noticed in the midst, it is the
            # answer to the next call, and the last one.
            if not self._answered:
                raise
            yield [_refused(splitter.line + 1, error.problem)]

    async def _answer(self, pieces: Sequence[Piece]) -> list[Entry]:
        read = [await self._read(piece) for piece in pieces]
        fresh = [call for call in read if isinstance(call, NewCall)]
        stored = iter(await self._store(fresh))
        entries = [
            _entry(piece.line, next(stored) if isinstance(call, NewCall) else call)
            for piece, call in zip(pieces, read, strict=True)
        ]
        self._answered = True
        return entries

    async def _store(self, calls: Sequence[NewCall]) -> Sequence[Accepted | KeyConflict | Problem]:
        if self._lost is not None:
            return [away(self._lost)] * len(calls)
        answers = await self._placing.commits.accept_batch(calls)
        results: list[Accepted | KeyConflict | Problem] = []
        for answer in answers:
            if isinstance(answer, Unavailable):
                if not self._answered and answer is answers[0]:
                    raise answer
                self._lost = answer
                results.append(away(answer))
            else:
                results.append(answer)
        return results

    async def _read(self, piece: Piece) -> _Read:
        if piece.problem is not None:
            return piece.problem
        try:
            raw = decode(piece.body)
            key = read_key(
                raw.pop(KEY_FIELD, None) if isinstance(raw, dict) else None, _KEY_POINTER
            )
            return await self._placing.read(self._tenant, raw, key)
        except ProblemError as error:
            return error.problem
        except Unavailable as error:
            return away(error)


def _groups(pieces: Sequence[Piece]) -> list[Sequence[Piece]]:
    return [pieces[start : start + MOST_A_COMMIT] for start in range(0, len(pieces), MOST_A_COMMIT)]


def _entry(line: int, answer: Accepted | KeyConflict | Problem) -> Entry:
    match answer:
        case Accepted():
            entry = {"line": line, "id": answer.call_id, "status": answer.status.value}
            return {**entry, "replayed": True} if answer.replayed else entry
        case KeyConflict():
            return _refused(line, key_conflict(answer, _KEY_POINTER))
        case Problem():
            return _refused(line, answer)


def _refused(line: int, problem: Problem) -> Entry:
    return {"line": line, "problem": problem.body()}

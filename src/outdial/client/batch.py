"""Batches, streamed both ways and taken up again where a connection broke."""

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass

import aiohttp
import orjson

from outdial.client.http import Connection, decode, pause, refusal
from outdial.client.problems import ApiError, Problem, read_problem, unanswered
from outdial.client.records import BatchAnswer, CallRequest

#: Lines a request: few enough to be held in memory until they are answered.
LINES_A_REQUEST = 5_000
#: A request is ended when no call has come for so many seconds, so that it never lies idle.
IDLE_SECONDS = 1.0
#: Bytes written at once.
CHUNK_BYTES = 65_536

_READ_AHEAD = 1_000


@dataclass(frozen=True, slots=True)
class _Line:
    index: int
    text: bytes


class _Lines:
    """The calls as lines, read ahead by a task of its own.

    So a request that breaks off cancels a wait for the next line, never the caller's iterator.
    """

    def __init__(self, calls: Iterable[CallRequest] | AsyncIterable[CallRequest]) -> None:
        self._queue: asyncio.Queue[_Line | None] = asyncio.Queue(_READ_AHEAD)
        self._calls = calls
        self._reader = asyncio.create_task(self._read())
        self._closing = False
        self.over = False

    async def _read(self) -> None:
        try:
            index = 0
            async for call in _each(self._calls):
                key = call.idempotency_key or str(uuid.uuid4())
                body = call.body() | {"idempotency_key": key}
                await self._queue.put(_Line(index, orjson.dumps(body) + b"\n"))
                index += 1
        finally:
            if not self._closing:
                await self._queue.put(None)

    async def next(self) -> _Line | None:
        """The next line; None after the last one, whose reading then raises what it met."""
        line = None if self.over else await self._queue.get()
        if line is None:
            self.over = True
        return line

    def at_hand(self) -> bool:
        """Whether `next` would not wait."""
        return not self._queue.empty()

    async def close(self) -> None:
        """Stop reading."""
        self._closing = True
        self._reader.cancel()
        await asyncio.wait({self._reader})

    def raise_for_error(self) -> None:
        """Raise what the caller's iterator raised."""
        if self._reader.done() and not self._reader.cancelled():
            self._reader.result()


async def _each(
    calls: Iterable[CallRequest] | AsyncIterable[CallRequest],
) -> AsyncIterator[CallRequest]:
    if isinstance(calls, AsyncIterable):
        async for call in calls:
            yield call
    else:
        for call in calls:
            yield call


async def place(
    connection: Connection, calls: Iterable[CallRequest] | AsyncIterable[CallRequest]
) -> AsyncGenerator[BatchAnswer]:
    """See `Client.place_batch`."""
    lines = _Lines(calls)
    unanswered_lines: deque[_Line] = deque()
    tried = 0
    try:
        while unanswered_lines or not lines.over:
            try:
                async with contextlib.aclosing(
                    _one_request(connection, lines, unanswered_lines)
                ) as answers:
                    async for answer in answers:
                        tried = 0
                        yield answer
            except ApiError as error:
                if tried == connection.retries or not error.problem.passing:
                    raise
                await pause(tried, error)
                tried += 1
        lines.raise_for_error()
    finally:
        await lines.close()


async def _one_request(
    connection: Connection, lines: _Lines, waiting: deque[_Line]
) -> AsyncGenerator[BatchAnswer]:
    if not waiting:
        # No request before there is a line for it.
        line = await lines.next()
        if line is None:
            return
        waiting.append(line)
    headers = {"Content-Type": "application/x-ndjson", "Accept": "application/x-ndjson"}
    try:
        async with connection.session.post(
            f"{connection.base_url}/v1/calls/batch", data=_body(lines, waiting), headers=headers
        ) as response:
            if not response.ok:
                raise await refusal(response)
            number = 0
            async for text in response.content:
                number += 1
                yield _settle(waiting, number, text)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise unanswered(connection.base_url, error) from error
    if waiting:
        raise unanswered(connection.base_url, EOFError("it answered fewer calls than it was sent"))


def _settle(waiting: deque[_Line], number: int, text: bytes) -> BatchAnswer:
    answer = decode(text)
    if not isinstance(answer, dict) or answer.get("line") != number or not waiting:
        detail = "the answers do not match the calls sent"
        raise ApiError(Problem(200, "Not understood", detail))
    line = waiting[0]
    problem = answer.get("problem")
    if problem is None:
        waiting.popleft()
        replayed = answer.get("replayed") is True
        return BatchAnswer(line.index, answer.get("id"), answer.get("status"), replayed=replayed)
    read = read_problem(problem.get("status", 0), problem)
    if read.passing:
        # This one and all after it stay unanswered: they are sent again.
        raise ApiError(read)
    waiting.popleft()
    return BatchAnswer(line.index, problem=read)


async def _body(lines: _Lines, waiting: deque[_Line]) -> AsyncIterator[bytes]:
    yield b"".join(line.text for line in waiting)
    sent = len(waiting)
    while sent < LINES_A_REQUEST and not lines.over:
        chunk = bytearray()
        while sent < LINES_A_REQUEST and len(chunk) < CHUNK_BYTES:
            if chunk and not lines.at_hand():
                break
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    line = await lines.next()
            except TimeoutError:
                return
            if line is None:
                break
            waiting.append(line)
            chunk += line.text
            sent += 1
        if chunk:
            yield bytes(chunk)

"""The answers of a batch, sent while its body still comes in.

Many HTTP clients read nothing before they have sent everything. Waiting for such a client to read
would wait for ever, so answers it has not read yet are kept: in memory, then in a file.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from tempfile import SpooledTemporaryFile
from typing import Any

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

NDJSON = "application/x-ndjson"
_CHUNK = 65_536
_IN_MEMORY = 1_048_576

Entry = Mapping[str, Any]


class Spool:
    """Bytes in, bytes out, in order; over a megabyte they lie in a file."""

    def __init__(self) -> None:
        """Empty."""
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed by `close`
        self._read = 0
        self._written = 0

    def put(self, data: bytes) -> None:
        """Append."""
        self._file.seek(self._written)
        self._file.write(data)
        self._written += len(data)

    def take(self) -> bytes:
        """The next chunk; empty where nothing is left."""
        self._file.seek(self._read)
        data = self._file.read(min(_CHUNK, self._written - self._read))
        self._read += len(data)
        if self._read == self._written:
            self._file.seek(0)
            self._file.truncate()
            self._read = self._written = 0
        return data

    def close(self) -> None:
        """Drop what is left."""
        self._file.close()


class StreamedAnswers(Response):
    """200 with one entry a call, as NDJSON or as a JSON array."""

    def __init__(
        self, first: Sequence[Entry], rest: AsyncIterator[Sequence[Entry]], media_type: str
    ) -> None:
        """`first` are answers there already; `rest` is iterated once the response has begun."""
        super().__init__(status_code=200, media_type=media_type)
        del self.headers["content-length"]
        self._lines = media_type == NDJSON
        self._first = first
        self._rest = rest
        self._spool = Spool()
        self._news = asyncio.Event()
        self._done = False
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """ASGI."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._gather())
                await self._send_all(send)
        finally:
            self._spool.close()

    async def _gather(self) -> None:
        try:
            self._put(self._first)
            async for entries in self._rest:
                self._put(entries)
        except ClientDisconnect:
            pass  # what was read before is committed; nobody is there to be told
        if not self._lines:
            self._spool.put(b"]" if self._begun else b"[]")
        self._done = True
        self._news.set()

    def _put(self, entries: Sequence[Entry]) -> None:
        texts = [orjson.dumps(entry) for entry in entries]
        if self._lines:
            self._spool.put(b"".join(text + b"\n" for text in texts))
        elif texts:
            self._spool.put((b"," if self._begun else b"[") + b",".join(texts))
            self._begun = True
        self._news.set()

    async def _send_all(self, send: Send) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while data := self._spool.take():
                await send({"type": "http.response.body", "body": data, "more_body": True})
            if self._done:
                break
        await send({"type": "http.response.body", "body": b"", "more_body": False})

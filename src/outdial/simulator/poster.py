"""POST over kept connections, and nothing else.

The simulator shares its cores with the program that it tests. Sending a call's webhooks through
aiohttp cost 1.2 ms of CPU, this way 0.5 (2,000 calls, 2.8 webhooks of 6.5 kB each).
"""

import asyncio
import ssl
from functools import lru_cache
from typing import cast
from urllib.parse import urlsplit

import httptools
from typing_extensions import override

_USER_AGENT = "outdial-simulator"
Place = tuple[str, int, bool]
"""Host, port, and whether TLS is spoken there."""


class Poster:
    """Sends JSON to any address; as many connections at once as there are posts at once."""

    def __init__(self, timeout_s: float) -> None:
        """`timeout_s` bounds a post from connecting to the end of the answer."""
        self._timeout_s = timeout_s
        self._idle: dict[Place, list[_Connection]] = {}
        self._tls: ssl.SSLContext | None = None

    def close(self) -> None:
        """Close the connections that are kept."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        """The status of the answer; raises OSError (TimeoutError too) where there is none.

        `url` is one that `address` accepts.
        """
        place, head = address(url)
        extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        start = f"{head}{extra}content-length: {len(body)}\r\n\r\n".encode("latin-1")
        kept = self._idle.get(place)
        while kept:
            connection = kept.pop()
            if connection.open:
                try:
                    return await self._exchange(place, connection, start, body)
                except ConnectionError:
                    # The other side closed what was kept as we wrote: not an answer of its.
                    break
        async with asyncio.timeout(self._timeout_s):
            connection = await self._connect(place)
        return await self._exchange(place, connection, start, body)

    async def _exchange(
        self, place: Place, connection: "_Connection", start: bytes, body: bytes
    ) -> int:
        status = await connection.send(start, body, self._timeout_s)
        if connection.open:
            self._idle.setdefault(place, []).append(connection)
        return status

    async def _connect(self, place: Place) -> "_Connection":
        host, port, tls = place
        if tls and self._tls is None:
            self._tls = ssl.create_default_context()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            _Connection, host, port, ssl=self._tls if tls else None
        )
        return connection


@lru_cache(maxsize=256)
def address(url: str) -> tuple[Place, str]:
    """Where a URL points, and the head of a request to it; raises ValueError if it is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http or https address")
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    if not (target + host).isascii() or any(char <= " " for char in target + host):
        raise ValueError("must be percent-encoded")
    head = (
        f"POST {target} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {_USER_AGENT}\r\n"
        "content-type: application/json\r\naccept: */*\r\n"
    )
    return (parts.hostname, port, tls), head


class _Connection(asyncio.Protocol):
    """One kept connection, one exchange at a time."""

    def __init__(self) -> None:
        self.open = False
        self._transport: asyncio.Transport
        self._parser: httptools.HttpResponseParser
        self._answer: asyncio.Future[int] | None = None

    async def send(self, start: bytes, body: bytes, timeout_s: float) -> int:
        """Exchange a request for the status of its answer."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int] = loop.create_future()
        self._answer = answer
        self._parser = httptools.HttpResponseParser(self)
        deadline = loop.call_later(timeout_s, self._fail, TimeoutError("no answer in time"))
        self._transport.writelines((start, body))
        try:
            return await answer
        finally:
            deadline.cancel()
            self._answer = None
            if not answer.done() or answer.cancelled():
                self.close()

    def close(self) -> None:
        """Drop the connection."""
        self.open = False
        self._transport.abort()

    def on_message_complete(self) -> None:
        """The whole answer is here (called by the parser)."""
        status = self._parser.get_status_code()
        if status < 200 or self._answer is None:
            return
        if not self._parser.should_keep_alive():
            self.close()
        if not self._answer.done():
            self._answer.set_result(status)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.open = True

    @override
    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.close()  # nobody asked
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(OSError(f"not an answer in HTTP: {error}"))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc if isinstance(exc, OSError) else ConnectionResetError("closed"))

    def _fail(self, error: OSError) -> None:
        self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

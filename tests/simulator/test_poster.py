"""Facts about sending: connections are kept, and every bad answer is an OSError."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from outdial.simulator.poster import Poster, address

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
Script = Callable[[int, int], bytes | None]
"""From (connection, request on it) to the bytes of the answer; None closes without one."""


class Server:
    """Answers by a script and counts connections."""

    def __init__(self, script: Script) -> None:
        """Start it with `async with`."""
        self.connections = 0
        self.bodies: list[bytes] = []
        self.script = script
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        mine, asked = self.connections, 0
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                asked += 1
                answer = self.script(mine, asked)
                if answer is None:
                    break
                self.bodies.append(body)
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Script], "asyncio.Future[Server]"]]:
    """Starts servers by a script."""
    running: list[asyncio.Server] = []

    async def start(script: Script) -> Server:
        server = Server(script)
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        running.append(listening)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/hook?a=b"
        return server

    yield lambda script: asyncio.ensure_future(start(script))
    for listening in running:
        listening.close()


@pytest.fixture
async def poster() -> AsyncIterator[Poster]:
    """A poster with little patience."""
    made = Poster(timeout_s=0.5)
    yield made
    made.close()


Serve = Callable[[Script], "asyncio.Future[Server]"]


async def test_connections_are_kept(serve: Serve, poster: Poster) -> None:
    """Posts one after another share a connection, also after answers in chunks."""
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    server = await serve(lambda _, asked: chunked if asked == 1 else OK)
    assert [await poster.post(server.url, {"x": "y"}, b"{}") for _ in range(3)] == [200, 204, 204]
    assert server.connections == 1


async def test_kept_connection_that_was_closed(serve: Serve, poster: Poster) -> None:
    """A kept connection that the other side closes is replaced, and the post is taken once."""
    server = await serve(lambda _, asked: OK if asked == 1 else None)
    for body in (b"1", b"2", b"3"):
        assert await poster.post(server.url, {}, body) == 204
    assert server.bodies == [b"1", b"2", b"3"]


async def test_answer_that_closes(serve: Serve, poster: Poster) -> None:
    """`connection: close` is honoured."""
    closing = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    server = await serve(lambda _connection, _asked: closing)
    assert [await poster.post(server.url, {}, b"") for _ in range(2)] == [200, 200]
    assert server.connections == 2


@pytest.mark.parametrize("answer", [b"GARBAGE\r\n\r\n", b"HTTP/1.1 20", None])
async def test_no_answer(serve: Serve, poster: Poster, answer: bytes | None) -> None:
    """Garbage, half an answer until the time is over, and none at all are OSErrors."""
    server = await serve(lambda _connection, _asked: answer)
    with pytest.raises(OSError, match=r".*"):
        await poster.post(server.url, {}, b"")


async def test_nobody_listens(poster: Poster) -> None:
    """A port where nobody listens is an OSError."""
    with pytest.raises(ConnectionError):
        await poster.post("http://127.0.0.1:1/x", {}, b"")


@pytest.mark.parametrize("url", ["", "ftp://x/", "http:///x", "http://x/ä", "http://x/a b"])
def test_addresses(url: str) -> None:
    """What is no http or https address, or is not percent-encoded, is refused."""
    with pytest.raises(ValueError, match="must be"):
        address(url)


def test_default_ports() -> None:
    """Without a port it is 80, and 443 with TLS."""
    assert address("http://a.test")[0] == ("a.test", 80, False)
    assert address("https://a.test/x")[0] == ("a.test", 443, True)

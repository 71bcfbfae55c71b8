"""The client when the network, or the server, is bad."""

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from outdial.client import ApiError, CallRequest, Client
from outdial.client.problems import cause

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    """A server of one handler; its URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once."""
    monkeypatch.setattr("outdial.client.http.LONGEST_PAUSE", 0.001)


async def test_a_lost_answer_is_asked_for_again_under_the_same_key() -> None:
    """Whatever broke, every try of one call carries one idempotency key."""
    keys: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            assert request.transport is not None
            request.transport.close()
        if len(keys) < 4:
            return web.json_response({}, status=503, headers={"Retry-After": "1"})
        headers = {"Idempotency-Replayed": "true"}
        return web.json_response({"id": "a", "status": "queued"}, status=202, headers=headers)

    async with server(handler) as url, Client(url, "k") as client:
        placed = await client.place(CallRequest("+14155550123"))
    assert placed.replayed
    assert len(keys) == 4
    assert len(set(keys)) == 1


async def test_no_answer_is_an_api_error_that_names_the_address() -> None:
    """After the retries; status 0."""
    async with Client("http://127.0.0.1:9", retries=1) as client:
        with pytest.raises(ApiError, match=r"http://127\.0\.0\.1:9") as caught:
            await client.get("x")
    assert caught.value.problem.status == 0


@pytest.mark.parametrize(
    ("why", "words"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 9)"), "connection refused"),
        (OSError("Multiple exceptions: [Errno 111] a, [Errno 111] b"), "connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (ssl.SSLError(1, "[SSL] wrong version number"), "[SSL] wrong version number"),
        (EOFError("it broke\noff"), "it broke off"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_a_failed_connection_is_told_in_plain_words(why: Exception, words: str) -> None:
    """The system's words for it, without the HTTP library's."""
    assert cause(why) == words


async def test_a_dead_port_is_told_without_the_librarys_words() -> None:
    """The address once, and why."""
    async with Client("http://localhost:9", retries=0) as client:
        with pytest.raises(ApiError) as caught:
            await client.get("x")
    assert str(caught.value) == "no answer from http://localhost:9: connection refused"


async def test_a_refusal_is_not_repeated() -> None:
    """A 4xx is the answer; one that is no problem document still makes a problem."""
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(status=418, text="<html>")

    async with server(handler) as url, Client(url) as client:
        with pytest.raises(ApiError) as caught:
            await client.get("a/b")
        with pytest.raises(ApiError):
            await anext(client.place_batch([CallRequest("+14155550123")]))
    assert (caught.value.problem.status, caught.value.problem.title) == (418, "HTTP 418")
    assert asked == ["/v1/calls/a/b", "/v1/calls/batch"]


async def test_a_batch_goes_on_where_its_connection_broke() -> None:
    """Unanswered calls are sent again with their keys; none is answered twice, all in order."""
    served: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        line = 0
        while text := await request.content.readline():
            line += 1
            served.append(json.loads(text)["idempotency_key"])
            answer = {"line": line, "id": served[-1], "status": "queued"}
            await response.write(json.dumps(answer).encode() + b"\n")
            if len(served) in {3, 8}:
                await asyncio.sleep(0.05)
                assert request.transport is not None
                request.transport.close()
                break
        return response

    calls = [CallRequest("+14155550123", idempotency_key=f"k{n}") for n in range(12)]
    async with server(handler) as url, Client(url) as client:
        answers = [answer async for answer in client.place_batch(calls)]
    assert [answer.index for answer in answers] == list(range(12))
    assert [answer.id for answer in answers] == [f"k{n}" for n in range(12)]


async def test_answers_that_match_nothing_are_an_error() -> None:
    """Too few, too many, or no JSON: an ApiError, after the retries."""

    def answering(text: bytes) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            await request.read()
            return web.Response(body=text)

        return handler

    calls = [CallRequest("+14155550123")]
    good = b'{"line": 1, "id": "a", "status": "queued"}\n'
    for text in (b"", b"nonsense\n", good + good):
        async with server(answering(text)) as url, Client(url, retries=1) as client:
            with pytest.raises(ApiError):
                _ = [one async for one in client.place_batch(calls)]


async def test_a_source_that_rests_leaves_no_request_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request is ended where no call comes for a while; the next one begins with the next."""
    monkeypatch.setattr("outdial.client.batch.IDLE_SECONDS", 0.01)
    requests = 0
    ended = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal requests
        requests += 1
        lines = (await request.read()).splitlines()
        ended.set()
        answers = [{"line": n + 1, "id": str(n), "status": "queued"} for n in range(len(lines))]
        return web.Response(text="".join(json.dumps(one) + "\n" for one in answers))

    async def source() -> AsyncIterator[CallRequest]:
        for _ in range(3):
            ended.clear()
            yield CallRequest("+14155550123")
            await ended.wait()

    async with server(handler) as url, Client(url) as client:
        answers = [answer async for answer in client.place_batch(source())]
    assert len(answers) == 3
    assert requests == 3


async def test_long_batches_are_several_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of so many lines as can be held until they are answered."""
    monkeypatch.setattr("outdial.client.batch.LINES_A_REQUEST", 5)
    sizes: list[int] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        lines = (await request.read()).splitlines()
        sizes.append(len(lines))
        answers = [{"line": n + 1, "id": str(n), "status": "queued"} for n in range(len(lines))]
        return web.Response(text="".join(json.dumps(one) + "\n" for one in answers))

    calls = [CallRequest("+14155550123") for _ in range(12)]
    async with server(handler) as url, Client(url) as client:
        answers = [answer async for answer in client.place_batch(calls)]
    assert [answer.index for answer in answers] == list(range(12))
    assert sizes == [5, 5, 2]

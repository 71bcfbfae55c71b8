"""The Retell adapter against a server that answers what no simulator should."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from outdial.adapters.retell import RetellPlatform
from outdial.core.retell_events import ATTEMPT_KEY
from outdial.core.submission import Placed, Refused, Submission, Suspended, Throttled, Unanswered
from outdial.errors import Unavailable

KEY = "key_very_secret"
REQUEST = {
    "from_number": "+14155550100",
    "to_number": "+14155550123",
    "metadata": {ATTEMPT_KEY: "attempt_1"},
    "idempotency_key": "attempt_1",
    "a_field_of_tomorrow": {"kept": True},
}


def http(status: int, body: object, *headers: str) -> bytes:
    """A whole HTTP answer; `body` is JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} Status", f"content-length: {len(content)}", *headers]
    return "\r\n".join([*head, "connection: close", "", ""]).encode() + content


def error(status: int, message: object) -> bytes:
    """An error of Retell's form."""
    return http(status, {"status": "error", "message": message})


@dataclass
class Server:
    """Answers raw bytes; an empty answer resets the connection, None never comes."""

    answers: list[bytes | None] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            ),
            0,
        )
        self.requests.append(head + await reader.readexactly(length))
        self.asked.set()
        answer = self.answers.pop(0)
        if answer is None:
            await self.over.wait()
        elif answer == b"":
            writer.transport.abort()
        else:
            writer.write(answer)
        writer.close()

    @property
    def sent(self) -> list[dict[str, object]]:
        """The JSON bodies of the requests."""
        return [json.loads(request.partition(b"\r\n\r\n")[2]) for request in self.requests]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server on loopback."""
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield made
    made.over.set()
    listening.close()
    await listening.wait_closed()


@pytest.fixture
async def platform(server: Server) -> AsyncIterator[RetellPlatform]:
    """The adapter on that server."""
    made = RetellPlatform(KEY, server.url)
    await made.warm_up()
    yield made
    await made.close()


async def test_sends_the_request_as_it_is(server: Server, platform: RetellPlatform) -> None:
    """The body goes out whole, unknown fields too, once, under the API key."""
    server.answers = [http(201, {"call_id": "call_1", "call_status": "registered"})]
    assert await platform.submit(REQUEST, 5) == Placed("call_1")
    assert server.sent == [REQUEST]
    assert server.requests[0].startswith(b"POST /v2/create-phone-call HTTP/1.1\r\n")
    assert f"authorization: bearer {KEY}".encode() in server.requests[0].lower()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 201 Created\r\ncontent-length: 999\r\n\r\n{",
        http(201, b""),
        http(201, b"not json"),
        http(201, b"[" * 100_000),
        http(201, []),
        http(201, {}),
        http(201, {"call_id": ""}),
        http(201, {"call_id": 7}),
        http(204, b""),
        http(302, b"", "location: /elsewhere"),
        http(307, b"", "location: /v2/create-phone-call"),
        http(201, b"not gzip", "content-encoding: gzip"),
        error(408, "slow"),
        error(409, "the same key is under way"),
        error(500, "broken"),
        http(502, b"<html>Bad gateway</html>"),
        error(503, "busy"),
    ],
)
async def test_a_doubt(server: Server, platform: RetellPlatform, answer: bytes) -> None:
    """An answer that does not say what became of the call is a doubt; it is asked once only."""
    server.answers = [answer]
    assert isinstance(await platform.submit(REQUEST, 5), Unanswered)
    assert len(server.requests) == 1


async def test_a_silence(server: Server, platform: RetellPlatform) -> None:
    """No answer within the time in all is a doubt; so is one that only trickles."""
    server.answers = [None]
    assert await platform.submit(REQUEST, 0.05) == Unanswered("no answer within 0.05 s")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(400, "bad"), Refused(400, "bad")),
        (error(422, ["a", "list"]), Refused(422, '["a", "list"]')),
        (error(402, "no credit"), Suspended(402, "no credit")),
        (error(429, "slow down"), Throttled("slow down")),
        (error(404, "no such agent"), Refused(404, "no such agent")),
        (http(400, {"status": "error"}), Refused(400, "")),
    ],
)
async def test_a_proof(
    server: Server, platform: RetellPlatform, answer: bytes, expected: Submission
) -> None:
    """A 4xx of Retell's form is told for what it is, with Retell's words."""
    server.answers = [answer]
    assert await platform.submit(REQUEST, 5) == expected


@pytest.mark.parametrize("body", [b"<html>Not here</html>", {"detail": "Not Found"}])
async def test_a_wrong_address(server: Server, platform: RetellPlatform, body: object) -> None:
    """A 404 that is not Retell's suspends dialing and doubts the base URL; no call fails."""
    server.answers = [http(404, body)]
    answer = await platform.submit(REQUEST, 5)
    assert isinstance(answer, Suspended)
    assert "base URL" in answer.message


async def test_words_without_numbers_and_keys(server: Server, platform: RetellPlatform) -> None:
    """What Retell says is one line, with neither phone numbers nor the key, and not endless."""
    server.answers = [
        error(
            400,
            f"Cannot call +14155550123\nor +1 (415) 555-0123, 14155550123 or (415) 555-0123\n"
            f"with {KEY} by agent_1234567890 {'x' * 500}",
        )
    ]
    answer = await platform.submit(REQUEST, 5)
    assert isinstance(answer, Refused)
    assert answer.message.startswith(
        "Cannot call [number] or [number], [number] or [number] with [key] by agent_1234567890 x"
    )
    assert len(answer.message) <= 300


async def test_a_request_that_cannot_be_written(platform: RetellPlatform) -> None:
    """Even what is no JSON comes to an answer, not to an error."""
    nested: object = 1
    for _ in range(100_000):
        nested = [nested]
    for odd in ({1, 2}, float("nan"), "\ud800", nested):
        answer = await platform.submit(REQUEST | {"metadata": {"odd": odd}}, 5)
        assert isinstance(answer, Unanswered)


async def test_a_server_that_is_away() -> None:
    """A port on which nobody listens is a doubt, and its reason names no key."""
    listening = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    listening.close()
    await listening.wait_closed()
    platform = RetellPlatform(KEY, f"http://127.0.0.1:{port}")
    answer = await platform.submit(REQUEST, 5)
    assert isinstance(answer, Unanswered)
    assert KEY not in answer.detail
    await platform.close()


async def test_a_cancelled_submission(server: Server, platform: RetellPlatform) -> None:
    """Cancelling is the one thing that a submission passes on."""
    server.answers = [None]
    task = asyncio.create_task(platform.submit(REQUEST, 5))
    await server.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def page(*items: object, more: str | None = None) -> bytes:
    """A page of list-calls."""
    extra = {} if more is None else {"pagination_key": more}
    return http(200, {"items": items, "has_more": more is not None, **extra})


def ours(call_id: object) -> dict[str, object]:
    """A call of the attempt that is looked for."""
    return {"call_id": call_id, "metadata": {ATTEMPT_KEY: "attempt_1"}}


async def test_looks_an_attempt_up(server: Server, platform: RetellPlatform) -> None:
    """Every page is read, with a filter on the attempt in the metadata."""
    server.answers = [page(ours("call_1"), more="next"), page(ours("call_2"))]
    assert await platform.find_attempt("attempt_1") == ["call_1", "call_2"]
    wanted = {"key": ATTEMPT_KEY, "type": "string", "op": "eq", "value": "attempt_1"}
    assert [asked["filter_criteria"] for asked in server.sent] == [{"metadata": [wanted]}] * 2
    assert [asked.get("pagination_key") for asked in server.sent] == [None, "next"]


@pytest.mark.parametrize(
    "answer",
    [
        page({"call_id": "call_1", "metadata": {ATTEMPT_KEY: "attempt_2"}}),
        page({"call_id": "call_1", "metadata": None}),
        page({"call_id": "call_1"}),
        page(ours("")),
        page(ours(7)),
        page("call_1"),
        http(200, {"items": [], "has_more": True}),
        http(200, {"items": {}}),
        http(200, {}),
        http(200, []),
        http(200, b"not json"),
        http(200, b""),
        error(404, "no such route"),
        error(429, "slow down"),
        error(500, "broken"),
        b"",
    ],
)
async def test_a_look_up_that_proves_nothing(
    server: Server, platform: RetellPlatform, answer: bytes
) -> None:
    """What is not plainly a list of that attempt's calls is no proof that there are none."""
    server.answers = [answer]
    with pytest.raises(Unavailable, match="Retell unavailable"):
        await platform.find_attempt("attempt_1")


async def test_a_question_without_an_answer(server: Server) -> None:
    """A question is not waited for without end."""
    server.answers = [None]
    platform = RetellPlatform(KEY, server.url, patience=0.05)
    with pytest.raises(Unavailable, match="no answer within"):
        await platform.get_call("call_1")
    await platform.close()


async def test_reads_a_call(server: Server, platform: RetellPlatform) -> None:
    """A call is given as Retell tells it, transcript and unknown fields included."""
    call = {"call_id": "call_1", "transcript": "Agent: Hi Zoë", "field_of_tomorrow": [1]}
    server.answers = [http(200, call)]
    assert await platform.get_call("call_1") == call


@pytest.mark.parametrize("status", [404, 422])
async def test_a_call_that_is_unknown(
    server: Server, platform: RetellPlatform, status: int
) -> None:
    """Retell's own 404 or 422 says that there is no such call."""
    server.answers = [error(status, "Item not found")]
    assert await platform.get_call("call_1") is None


@pytest.mark.parametrize(
    "answer", [http(404, b"<html>"), error(401, "key"), error(500, "x"), http(200, b"[]")]
)
async def test_a_call_that_is_not_read(
    server: Server, platform: RetellPlatform, answer: bytes
) -> None:
    """A stranger's 404 is not Retell's: calls must not vanish with a wrong base URL."""
    server.answers = [answer]
    with pytest.raises(Unavailable):
        await platform.get_call("call_1")


@pytest.mark.parametrize("call_id", ["", "..", "."])
async def test_an_id_that_is_none(platform: RetellPlatform, call_id: str) -> None:
    """An id that makes no path is never asked for."""
    with pytest.raises(Unavailable):
        await platform.get_call(call_id)


@pytest.mark.parametrize(
    "answer", [http(204, b""), error(400, "over"), error(404, "none"), error(422, "none")]
)
async def test_stopping(server: Server, platform: RetellPlatform, answer: bytes) -> None:
    """Stopping a call that is over or unknown is no error."""
    server.answers = [answer]
    await platform.stop_call("call_1")
    assert server.requests[0].startswith(b"POST /v2/stop-call/call_1 ")


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"current_concurrency": 1},
        {"current_concurrency": "1", "concurrency_limit": 20},
        {"current_concurrency": 1, "concurrency_limit": 20, "reserved_inbound_concurrency": "x"},
    ],
)
async def test_lines_that_are_not_told(
    server: Server, platform: RetellPlatform, told: dict[str, object]
) -> None:
    """Without numbers nothing is corrected by them."""
    server.answers = [http(200, told)]
    with pytest.raises(Unavailable):
        await platform.concurrency()


async def test_lines_without_a_reserve(server: Server, platform: RetellPlatform) -> None:
    """A reserve that is not told is none."""
    server.answers = [http(200, {"current_concurrency": 3, "concurrency_limit": 20})]
    lines = await platform.concurrency()
    assert (lines.current, lines.limit, lines.reserved_inbound) == (3, 20, 0)


async def test_a_proxy_of_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform on this machine is asked directly, whatever proxy the environment names."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    platform = RetellPlatform(KEY, server.url)
    server.answers = [http(201, {"call_id": "call_1"})]
    assert await platform.submit(REQUEST, 5) == Placed("call_1")
    await platform.close()


async def test_the_environment_does_not_lead_elsewhere(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK's own variables do not decide where calls are placed."""
    monkeypatch.setenv("RETELL_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("RETELL_API_KEY", "key_of_another")
    platform = RetellPlatform(KEY, server.url)
    server.answers = [http(201, {"call_id": "call_1"})]
    assert await platform.submit(REQUEST, 5) == Placed("call_1")
    await platform.close()


async def test_closing_what_was_never_used() -> None:
    """A platform that asked nothing has nothing to close."""
    await RetellPlatform(KEY).close()


def test_loads_the_sdk_late() -> None:
    """Importing the adapter does not import the SDK, which takes a while."""
    script = "import sys, outdial.adapters.retell; print('retell' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"

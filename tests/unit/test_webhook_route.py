"""The local webhook route: the Lambda's handler over HTTP, with the asynchronous ports."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import httpx
import pytest
from typing_extensions import override

from outdial.adapters.memory import MemoryParking, MemoryQueue
from outdial.core.messages import decode_event, open_payload
from outdial.core.signature import HEADER, sign
from outdial.errors import Unavailable
from outdial.http_common import dropping
from outdial.http_common.dropping import MOST_DROPPED
from outdial.http_common.listening import listen
from outdial.http_common.serving import serving
from outdial.ports.queue import Outgoing
from outdial.webhook_lambda import MAX_BODY_BYTES, wall_clock
from outdial.webhook_route import PATH, WebhookRoute, webhook_app
from tests.unit.test_webhook_lambda import BODY, KEY, large, noise


class FailingQueue(MemoryQueue):
    """A queue that can be away."""

    away = False

    @override
    async def send(self, messages: Sequence[Outgoing]) -> None:
        if self.away:
            raise Unavailable("event queue", "/secret/path is full")
        await super().send(messages)


@pytest.fixture
def queue() -> FailingQueue:
    """The event queue."""
    return FailingQueue("events")


@pytest.fixture
def parking() -> MemoryParking:
    """Where large payloads go."""
    return MemoryParking()


@pytest.fixture
async def client(queue: FailingQueue, parking: MemoryParking) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application."""
    transport = httpx.ASGITransport(webhook_app([KEY], queue, parking))
    async with httpx.AsyncClient(transport=transport, base_url="http://outdial") as made:
        yield made


async def post(client: httpx.AsyncClient, body: bytes) -> httpx.Response:
    """Post a signed body."""
    return await client.post(PATH, content=body, headers={HEADER: sign(KEY, body, wall_clock())})


async def test_takes_an_event(client: httpx.AsyncClient, queue: FailingQueue) -> None:
    """A signed webhook is in the queue when it is answered."""
    answer = await post(client, BODY)
    assert (answer.status_code, answer.content) == (204, b"")
    (message,) = await queue.receive()
    assert open_payload(decode_event(message.body)) == BODY


async def test_takes_a_large_event(client: httpx.AsyncClient, queue: FailingQueue) -> None:
    """A transcript of megabytes is judged beside the loop, and goes on compressed."""
    body = large(3_000_000, "Well, Zoë, as I said. ")
    assert (await post(client, body)).status_code == 204
    (message,) = await queue.receive()
    assert open_payload(decode_event(message.body)) == body


async def test_parks(
    client: httpx.AsyncClient, queue: FailingQueue, parking: MemoryParking
) -> None:
    """What even compressed is too large is parked before its pointer goes on."""
    body = large(4_000_000, noise(4_000_000))
    assert (await post(client, body)).status_code == 204
    (message,) = await queue.receive()
    pointer = decode_event(message.body)
    assert pointer.encoding == "parked"
    assert await parking.get(pointer.payload) == body


async def test_refusals(client: httpx.AsyncClient, queue: FailingQueue) -> None:
    """Unsigned, doubly signed and no event: refused as the handler refuses, as problem details."""
    unsigned = await client.post(PATH, content=BODY)
    signature = sign(KEY, BODY, wall_clock())
    twice = await client.post(
        PATH, content=BODY, headers=[(HEADER, signature), (HEADER.upper(), signature)]
    )
    nothing = await post(client, b"[]")
    statuses = [answer.status_code for answer in (unsigned, twice, nothing)]
    assert statuses == [401, 401, 400]
    assert unsigned.headers["content-type"] == "application/problem+json"
    assert unsigned.json()["status"] == 401
    assert await queue.receive() == []


async def test_bytes_that_are_no_text(client: httpx.AsyncClient, queue: FailingQueue) -> None:
    """They are judged as they came: signed they are no event, and otherwise a bad signature."""
    body = b'{"event":"call_ended","note":"\xff"}'
    assert (await post(client, body)).status_code == 400
    headers = {HEADER: sign(KEY, body, wall_clock())}
    other = await client.post(PATH, content=body.replace(b"\xff", b"\xfe"), headers=headers)
    assert other.status_code == 401
    assert not await queue.receive()


async def test_a_queue_away(client: httpx.AsyncClient, queue: FailingQueue) -> None:
    """A queue that is away is 503, so that Retell tries again; the reason stays inside."""
    queue.away = True
    answer = await post(client, BODY)
    assert answer.status_code == 503
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"content-length": str(MOST_DROPPED + 1)},
        {"content-length": "9" * 5000},
        {"content-length": str(MAX_BODY_BYTES + 1), "expect": "100-continue"},
    ],
)
async def test_too_large_by_its_own_word(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """What is announced as far too large, or only offered, is refused without being read."""

    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("nothing of it is read")
        yield b""

    answer = await client.post(PATH, content=body(), headers=headers)
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("way", ["announced", "chunked"])
async def test_a_plain_client_sees_why_it_is_refused(
    queue: FailingQueue, parking: MemoryParking, way: str
) -> None:
    """A client that reads only when all is written gets its 413, not a reset connection."""
    size = MAX_BODY_BYTES + 8_000_000

    def ask(url: str) -> int:
        chunks = [b"x" * 1_000_000] * (size // 1_000_000)
        body = b"".join(chunks) if way == "announced" else iter(chunks)
        try:
            with urlopen(Request(url + PATH, data=body, method="POST")) as answer:
                return int(answer.status)
        except HTTPError as error:
            with error:
                return error.code

    app = webhook_app([KEY], queue, parking)
    async with serving(app, listen("127.0.0.1", 0)) as url:
        assert await asyncio.to_thread(ask, url) == 413


async def test_what_is_too_large_is_logged_with_its_size(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Such an event is lost here, so the log says how large it was."""
    body = b"x" * (MAX_BODY_BYTES + 12_345)
    answer = await client.post(PATH, content=body)
    assert answer.status_code == 413
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "413" in record.getMessage()
    assert str(len(body)) in record.getMessage()


async def test_too_large_in_chunks(client: httpx.AsyncClient) -> None:
    """A body that grows and grows is refused once a bounded part of it was dropped."""
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1_000_000
            yield b"x" * 1_000_000

    assert (await client.post(PATH, content=body())).status_code == 413
    assert sent <= MAX_BODY_BYTES + MOST_DROPPED + 2_000_000


async def test_a_caller_that_stalls_is_not_waited_for(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropping the rest of a refused body ends after a while, however slowly it comes."""
    monkeypatch.setattr(dropping, "IDLE_SECONDS", 0.01)

    async def body() -> AsyncIterator[bytes]:
        yield b"x" * (MAX_BODY_BYTES + 1)
        await asyncio.Event().wait()

    assert (await client.post(PATH, content=body())).status_code == 413


async def test_a_caller_that_goes(queue: FailingQueue, parking: MemoryParking) -> None:
    """A caller that hangs up half-way is not answered, and half an event goes nowhere."""
    told = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def receive() -> dict[str, object]:
        return next(told, {"type": "http.disconnect"})

    async def send(_: object) -> None:
        raise AssertionError("nobody is there to answer")

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": []}
    await WebhookRoute([KEY], queue, parking)(scope, receive, send)
    assert await queue.receive() == []


async def test_many_at_once(client: httpx.AsyncClient, queue: FailingQueue) -> None:
    """Webhooks that come together are each judged and forwarded on their own."""
    bodies = [b'{"event":"call_ended","n":%d}' % number for number in range(50)]
    answers = await asyncio.gather(*(post(client, body) for body in bodies))
    assert {answer.status_code for answer in answers} == {204}
    messages = await queue.receive(limit=100)
    assert sorted(open_payload(decode_event(one.body)) for one in messages) == sorted(bodies)


async def test_beside_the_route(client: httpx.AsyncClient, tmp_path: Path) -> None:
    """Health and metrics are served beside it; nothing else is, and no other method."""
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await client.get(path)).status_code == 200
    assert (await client.get(PATH)).status_code == 405
    assert (await client.post("/webhooks/other")).status_code == 404

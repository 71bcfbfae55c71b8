"""Facts about the HTTP sink, over real sockets, and its signature, against its own vector."""

import asyncio
import base64
import hashlib
import hmac
import socket
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from outdial.adapters.sinks.http import HttpSink, _cause
from outdial.adapters.sinks.signing import Signer
from outdial.errors import ConfigurationError, Poison, Unavailable
from tests.contract.receivers import HttpReceiver, http_receiver

EVENT = b'{"id":"e1"}'
#: The vector that Standard Webhooks publishes with its libraries.
VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
VECTOR_AT = 1_614_265_330
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    """A receiver that is listening."""
    async with http_receiver() as listening:
        yield listening


def test_the_published_vector() -> None:
    """The signature is the one that Standard Webhooks publishes."""
    assert Signer(VECTOR_SECRET).headers(VECTOR_ID, VECTOR_AT, VECTOR_BODY) == {
        "webhook-id": VECTOR_ID,
        "webhook-timestamp": str(VECTOR_AT),
        "webhook-signature": VECTOR_SIGNATURE,
    }


async def test_a_plain_text_secret_is_the_key(receiver: HttpReceiver) -> None:
    """A receiver that knows the text checks the bytes it got, at the time they were sent."""
    sink = HttpSink(receiver.url, "pässword", clock=lambda: 1_700_000_000.9)
    await sink.deliver("e1", EVENT)
    await sink.close()
    got = receiver.requests[0]
    assert got.headers["webhook-id"] == "e1"
    assert got.headers["webhook-timestamp"] == "1700000000"
    expected = hmac.digest("pässword".encode(), b"e1.1700000000." + got.body, hashlib.sha256)
    assert got.headers["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"


async def test_without_a_secret_nothing_is_signed(receiver: HttpReceiver) -> None:
    """The event goes as CloudEvents' structured JSON, without signature headers."""
    sink = HttpSink(receiver.url)
    await sink.deliver("e1", EVENT)
    await sink.close()
    got = receiver.requests[0]
    assert got.path == "/events"
    assert got.headers["content-type"] == "application/cloudevents+json"
    assert not [name for name in got.headers if name.startswith("webhook-")]


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!", "whsec_é"])
def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    """An empty or broken secret is a fault of the configuration, and is not repeated."""
    with pytest.raises(ConfigurationError) as caught:
        HttpSink("http://127.0.0.1:1/", secret)
    assert "OUTDIAL_ACTIVITY_SINK_SECRET" in str(caught.value)
    assert "base64!" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "events.example.com",
        "ftp://tok3n@events.example.com/",
        "file:///etc/passwd",
        "http://",
        "https:///tok3n",
        "http://events.example.com:port/tok3n",
        "http://events.example.com:99999/tok3n",
        "http://[::1/tok3n",
    ],
)
def test_a_url_that_is_not_http_is_refused(url: str) -> None:
    """Construction fails, naming the variable and not what may be a secret in the URL."""
    with pytest.raises(ConfigurationError) as caught:
        HttpSink(url)
    assert "OUTDIAL_ACTIVITY_SINK_URL" in str(caught.value)
    assert "tok3n" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_taken(receiver: HttpReceiver, status: int) -> None:
    """The receiver may answer with whatever success it likes."""
    receiver.status = status
    sink = HttpSink(receiver.url)
    await sink.deliver("e1", EVENT)
    await sink.close()


@pytest.mark.parametrize("status", [400, 402, 406, 409, 413, 415, 422, 451])
async def test_a_4xx_on_the_event_is_poison(receiver: HttpReceiver, status: int) -> None:
    """The reason names the status."""
    receiver.status = status
    sink = HttpSink(receiver.url)
    with pytest.raises(Poison, match=str(status)):
        await sink.deliver("e1", EVENT)
    await sink.close()


@pytest.mark.parametrize("status", [304, 401, 403, 404, 405, 408, 410, 429, 500, 502, 503, 504])
async def test_all_else_is_unavailable(receiver: HttpReceiver, status: int) -> None:
    """Trouble, a wrong address and wrong credentials hold for every event, and may pass."""
    receiver.status = status
    sink = HttpSink(receiver.url)
    with pytest.raises(Unavailable, match=f"HTTP {status}"):
        await sink.deliver("e1", EVENT)
    await sink.close()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(receiver: HttpReceiver, status: int) -> None:
    """A redirect is trouble; no second request is made."""
    receiver.status = status
    receiver.location = "/elsewhere"
    sink = HttpSink(receiver.url)
    with pytest.raises(Unavailable, match=f"HTTP {status}"):
        await sink.deliver("e1", EVENT)
    await sink.close()
    assert [each.path for each in receiver.requests] == ["/events"]


async def test_connections_are_kept(receiver: HttpReceiver) -> None:
    """One delivery after another uses the same connection, whatever the answers were."""
    sink = HttpSink(receiver.url)
    for status in (204, 422, 503, 200):
        receiver.status = status
        try:
            await sink.deliver("e1", EVENT)
        except (Poison, Unavailable):
            continue
    await sink.close()
    assert len(receiver.requests) == 4
    assert len(receiver.connections) == 1


async def test_cookies_are_not_kept(receiver: HttpReceiver) -> None:
    """No delivery carries anything that an earlier answer set."""
    sink = HttpSink(receiver.url)
    await sink.deliver("e1", EVENT)
    await sink.deliver("e2", EVENT)
    await sink.close()
    assert all("cookie" not in each.headers for each in receiver.requests)


async def test_a_receiver_that_does_not_answer(receiver: HttpReceiver) -> None:
    """The total time is bounded."""
    receiver.open.clear()
    sink = HttpSink(receiver.url, timeout=0.05)
    with pytest.raises(Unavailable, match=r"no answer within 0\.05 s"):
        await sink.deliver("e1", EVENT)
    await sink.close()


async def test_nobody_listens() -> None:
    """A refused connection is named, the URL with its credentials is not."""
    with socket.socket() as held:
        # Bound and not listening: nobody else can listen there either.
        held.bind(("127.0.0.1", 0))
        sink = HttpSink(f"http://user:tok3n@127.0.0.1:{held.getsockname()[1]}/?key=tok3n", "tok3n")
        with pytest.raises(Unavailable, match="cannot connect") as caught:
            await sink.deliver("e1", EVENT)
        await sink.close()
    assert "tok3n" not in str(caught.value)


async def test_a_name_nobody_has() -> None:
    """A host that cannot be resolved is trouble, not a crash."""
    sink = HttpSink("http://nowhere.invalid/events")
    with pytest.raises(Unavailable, match="activity sink unavailable"):
        await sink.deliver("e1", EVENT)
    await sink.close()


def test_a_certificate_nobody_vouches_for() -> None:
    """The client's own error for it, which is unlike its others, is named."""
    key = ConnectionKey("events.example.com", 443, True, True, None, None, None)
    error = aiohttp.ClientConnectorCertificateError(key, ssl.CertificateError("self-signed"))
    assert _cause(error) == "its certificate is not trusted"


async def test_a_connection_that_breaks() -> None:
    """A receiver that hangs up, and one that does not speak HTTP, are trouble."""
    answers = iter([b"", b"this is no HTTP\r\n\r\n"])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(next(answers))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    sink = HttpSink(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    for _ in range(2):
        with pytest.raises(Unavailable, match="the connection broke"):
            await sink.deliver("e1", EVENT)
    await sink.close()
    server.close()
    await server.wait_closed()


async def test_tls_is_spoken_with_https(receiver: HttpReceiver) -> None:
    """An https URL never falls back to plain text: the receiver sees no request."""
    sink = HttpSink(receiver.url.replace("http://", "https://"))
    with pytest.raises(Unavailable, match="cannot connect"):
        await sink.deliver("e1", EVENT)
    await sink.close()
    assert receiver.requests == []

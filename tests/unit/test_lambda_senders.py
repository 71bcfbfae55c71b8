"""What the Lambda sends by itself: which host, which path, when again, and what it says if not."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from outdial.adapters.aws import senders
from outdial.adapters.aws.addresses import bucket_address, queue_address
from outdial.errors import ConfigurationError, Unavailable

ENVIRONMENT = {
    "AWS_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "AKID",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
}


@dataclass
class Site:
    """An endpoint in AWS's place. A status of 0 hangs up without an answer."""

    url: str
    statuses: list[int] = field(default_factory=list)
    said: bytes = b"{}"
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)


@pytest.fixture
def site() -> Iterator[Site]:
    """Listening on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            """Keep it; answer with the next status, 200 where there is none."""
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.requests.append((self.command, self.path, headers, body))
            made.connections.add(self.client_address)
            status = made.statuses.pop(0) if made.statuses else 200
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("content-length", str(len(made.said)))
            self.end_headers()
            self.wfile.write(made.said)

        do_POST = handle_any  # noqa: N815 - the base class's names
        do_PUT = handle_any  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    made = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def send(site: Site, body: str) -> None:
    """One message, by a sender of its own."""
    address = queue_address(f"{site.url}/123456789012/events")
    assert address is not None
    sender = senders.queue_sender(address, ENVIRONMENT)
    try:
        sender(body)
    finally:
        close(sender)


def close(sender: object) -> None:
    """Close what it keeps open: a Lambda never does."""
    for cell in sender.__closure__ or ():  # type: ignore[attr-defined]
        kept = cell.cell_contents
        if isinstance(kept, senders._Service):
            for connection in kept._idle:
                connection.close()


def test_a_message(site: Site) -> None:
    """One signed request in SQS's JSON protocol, the session's token with it."""
    send(site, "Zoë")
    ((method, path, headers, body),) = site.requests
    assert (method, path) == ("POST", "/")
    assert headers["x-amz-target"] == "AmazonSQS.SendMessage"
    assert headers["x-amz-security-token"] == "token"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    told = {"QueueUrl": f"{site.url}/123456789012/events", "MessageBody": "Zoë"}
    assert json.loads(body) == told


def test_a_connection_is_kept(site: Site) -> None:
    """Two events, one connection."""
    address = queue_address(f"{site.url}/123456789012/events")
    assert address is not None
    sender = senders.queue_sender(address, ENVIRONMENT)
    sender("a")
    sender("b")
    close(sender)
    assert len(site.requests) == 2
    assert len(site.connections) == 1


@pytest.mark.parametrize("first", [0, 500, 503, 429])
def test_once_more_where_it_may_help(site: Site, first: int) -> None:
    """After a connection that was closed meanwhile, throttling, or an error of theirs."""
    site.statuses = [first]
    send(site, "a")
    assert len(site.requests) == 2


@pytest.mark.parametrize(
    ("statuses", "said", "told", "requests"),
    [
        ([403], b'{"__type":"com.amazon#AccessDenied","message":"no"}', "AccessDenied: no", 1),
        ([500, 500], b"<Error><Code>InternalError</Code></Error>", "500 InternalError", 2),
        ([400, 400], b'{"__type":"ThrottlingException"}', "ThrottlingException", 2),
        ([0, 0], b"", "127.0.0.1", 2),
    ],
)
def test_what_was_not_taken(
    site: Site, statuses: list[int], said: bytes, told: str, requests: int
) -> None:
    """Unavailable, in AWS's own words; without a second try where that can't help."""
    site.statuses, site.said = statuses, said
    with pytest.raises(Unavailable, match=told):
        send(site, "a")
    assert len(site.requests) == requests


def test_an_object(site: Site) -> None:
    """At an emulator the bucket is in the path."""
    address = bucket_address("s3://bucket/prefix")
    assert address is not None
    sender = senders.object_sender(address, {**ENVIRONMENT, "AWS_ENDPOINT_URL": site.url})
    sender("events/a b.json", b"data")
    close(sender)
    ((method, path, _, body),) = site.requests
    assert (method, path, body) == ("PUT", "/bucket/prefix/events/a%20b.json", b"data")


@pytest.mark.parametrize(
    ("bucket", "region", "host"),
    [
        ("bucket", "eu-west-1", "bucket.s3.eu-west-1.amazonaws.com"),
        ("bucket.with.dots", "eu-west-1", "s3.eu-west-1.amazonaws.com"),
        ("bucket", "cn-north-1", "bucket.s3.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_where_a_bucket_is(bucket: str, region: str, host: str) -> None:
    """Its own host, but for names that no certificate covers."""
    address = bucket_address(f"s3://{bucket}")
    assert address is not None
    sender = senders.object_sender(address, {**ENVIRONMENT, "AWS_REGION": region})
    kept = [cell.cell_contents for cell in sender.__closure__ or ()]
    (service,) = (each for each in kept if isinstance(each, senders._Service))
    assert service._origin.netloc == host
    connection = service._connect()
    assert (connection.host, connection.port) == (host, 443)


def test_without_credentials(site: Site) -> None:
    """Unavailable, so that Retell tries again."""
    address = queue_address(f"{site.url}/123456789012/events")
    assert address is not None
    with pytest.raises(Unavailable, match="AWS_ACCESS_KEY_ID is not set"):
        senders.queue_sender(address, {"AWS_REGION": "eu-west-1"})("a")


def test_without_a_region(site: Site) -> None:
    """The set-up is wrong, and the line says how."""
    address = queue_address(f"{site.url}/123456789012/events")
    assert address is not None
    with pytest.raises(ConfigurationError, match="AWS_REGION"):
        senders.queue_sender(address, {})

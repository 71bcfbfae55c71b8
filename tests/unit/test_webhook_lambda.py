"""The webhook entry: what it takes, what it refuses, and what it hands to the queue."""

import base64
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import retell
from hypothesis import given
from hypothesis import strategies as st

from outdial import webhook_lambda
from outdial.adapters.sqlite_queue import QueueFile, SQLiteQueue
from outdial.core.messages import EventMessage, decode_event, open_payload, parking_key
from outdial.core.retell_events import body_sha256
from outdial.core.signature import HEADER, TOLERANCE_MS, sign
from outdial.errors import ConfigurationError, Unavailable
from outdial.ports.queue import MAX_MESSAGE_BYTES, Queue
from outdial.webhook_lambda import MAX_BODY_BYTES, Entry, Response, from_environment

EVENTS = Path(__file__).parents[1] / "events"
KEY = "key_of_the_tests"
NOW = 1_763_827_300_000
BODY = (EVENTS / "call_analyzed.json").read_bytes()
CALL_ID = "call_8f0c1f3a7be94d3c9d1c6a2e5b7f4a10"


def function_url_event(body: bytes, signature: str | None) -> dict[str, Any]:
    """A request as a Lambda function URL tells it."""
    headers = {"content-type": "application/json", "user-agent": "axios/1.7"}
    return {
        "version": "2.0",
        "rawPath": "/webhooks/retell",
        "headers": headers if signature is None else headers | {HEADER: signature},
        "requestContext": {"http": {"method": "POST", "path": "/webhooks/retell"}},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


@dataclass
class Site:
    """An entry with what it forwarded and parked."""

    forwarded: list[str] = field(default_factory=list)
    parked: dict[str, bytes] = field(default_factory=dict)
    failing: bool = False

    def entry(self, *keys: str) -> Entry:
        """The entry; its clock stands at `NOW`."""
        return Entry(keys or (KEY,), self._forward, self._park, lambda: NOW)

    def post(self, body: bytes, signature: str | None = None) -> Response:
        """Post a signed body."""
        return self.entry()(function_url_event(body, signature or sign(KEY, body, NOW)))

    @property
    def message(self) -> EventMessage:
        """The one message that was forwarded."""
        (body,) = self.forwarded
        return decode_event(body)

    def _forward(self, body: str) -> None:
        self._reach()
        self.forwarded.append(body)

    def _park(self, key: str, data: bytes) -> None:
        self._reach()
        self.parked[key] = data

    def _reach(self) -> None:
        if self.failing:
            raise Unavailable("event queue", "/secret/path is full")


@pytest.fixture
def site() -> Site:
    """A fresh site."""
    return Site()


def large(size: int, filler: str) -> bytes:
    """A `call_analyzed` of about that size."""
    call = {"call_id": "call_1", "transcript": filler * (size // len(filler))}
    return json.dumps({"event": "call_analyzed", "call": call}).encode()


def noise(size: int) -> str:
    """Text that hardly compresses."""
    import random  # noqa: PLC0415

    return random.Random(1).randbytes(size // 2).hex()  # noqa: S311


def test_takes_a_signed_event(site: Site) -> None:
    """A good event is answered 204 and goes on with its identity and the very bytes that came."""
    assert site.post(BODY) == {"statusCode": 204}
    assert site.message == EventMessage(
        CALL_ID, "call_analyzed", body_sha256(BODY), NOW, "plain", BODY.decode()
    )
    assert open_payload(site.message) == BODY


@pytest.mark.parametrize("name", sorted(path.stem for path in EVENTS.glob("*.json")))
def test_takes_every_kind_of_event(site: Site, name: str) -> None:
    """Known or unheard of, ours or foreign: what is signed is taken."""
    body = (EVENTS / f"{name}.json").read_bytes()
    assert site.post(body)["statusCode"] == 204
    assert open_payload(site.message) == body


@pytest.mark.parametrize(
    "change",
    [
        {"body": BODY.decode(), "isBase64Encoded": False},
        {"headers": {HEADER.title(): sign(KEY, BODY, NOW)}, "version": "1.0"},
        {"headers": None, "multiValueHeaders": {HEADER: [sign(KEY, BODY, NOW)]}},
    ],
    ids=["text body", "payload 1.0", "ALB with several values"],
)
def test_other_shapes_of_a_request(site: Site, change: dict[str, Any]) -> None:
    """Text bodies, header names as they came and lists of values are read as well."""
    event = function_url_event(BODY, sign(KEY, BODY, NOW)) | change
    assert site.entry()(event)["statusCode"] == 204


def test_of_a_signature_sent_twice_none_is_chosen(site: Site) -> None:
    """Payload 1.0 tells the last of two headers beside both: taking it would be a choice."""
    good = sign(KEY, BODY, NOW)
    event = function_url_event(BODY, good) | {"multiValueHeaders": {HEADER: ["v=1,d=2", good]}}
    assert site.entry()(event)["statusCode"] == 401


@pytest.mark.parametrize("several", [False, True])
def test_an_answer_to_an_alb(site: Site, several: bool) -> None:  # noqa: FBT001 - a parameter
    """An ALB is told headers in the kind that it sent, and that the body is text."""
    signature = sign(KEY, BODY, NOW)
    headers: dict[str, Any] = {"headers": {HEADER: signature}}
    if several:
        headers = {"multiValueHeaders": {HEADER: [signature]}}
    context = {"requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:…"}}}
    request = {"httpMethod": "POST", "path": "/webhooks/retell", **context}
    taken = site.entry()({**request, **headers, "body": BODY.decode(), "isBase64Encoded": False})
    assert (taken["statusCode"], taken["isBase64Encoded"]) == (204, False)
    kind = "multiValueHeaders" if several else "headers"
    assert taken[kind] == {}
    refused = site.entry()({**request, **headers, "body": "{}", "isBase64Encoded": False})
    problem: object = "application/problem+json"
    assert refused[kind] == {"content-type": [problem] if several else problem}


def test_two_keys_while_one_is_rotated(site: Site) -> None:
    """Either key may have signed."""
    for key in ("key_old", "key_new"):
        event = function_url_event(BODY, sign(key, BODY, NOW))
        assert site.entry("key_new", "key_old")(event)["statusCode"] == 204


@pytest.mark.parametrize(
    "event",
    [
        function_url_event(BODY, None),
        function_url_event(BODY, sign("key_other", BODY, NOW)),
        function_url_event(BODY + b" ", sign(KEY, BODY, NOW)),
        function_url_event(BODY, sign(KEY, BODY, NOW - TOLERANCE_MS - 1)),
        function_url_event(BODY, "v=1,d=2"),
        function_url_event(BODY, sign(KEY, BODY, NOW)) | {"body": "no base64!"},
        function_url_event(BODY, sign(KEY, BODY, NOW)) | {"body": {"event": "x"}},
        function_url_event(BODY, sign(KEY, BODY, NOW)) | {"body": None},
        function_url_event(BODY, None) | {"headers": {HEADER: ["a", "b"]}},
        function_url_event(BODY, None) | {"headers": [HEADER]},
        {"body": "\ud800"},
        {},
        None,
        "warm up",
    ],
)
def test_refuses_what_is_not_signed(site: Site, event: object) -> None:
    """No, a wrong or a stale signature, or no body to check it on, is 401; nothing goes on."""
    answer = site.entry()(event)
    assert answer["statusCode"] == 401
    assert json.loads(answer["body"])["status"] == 401
    assert site.forwarded == []


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"no", b'{"event":5}', b'{"event":null}', b"\xff", b'"event"']
)
def test_refuses_what_is_no_event(site: Site, body: bytes) -> None:
    """Signed bytes that are no JSON object with a string `event` are 400."""
    assert site.post(body)["statusCode"] == 400
    assert site.forwarded == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"event":""}',
        b'{"event":"call_ended","call":null}',
        b'{"event":"call_ended","call":{"call_id":7}}',
        b'{"event":"call_ended","call":{"call_id":"\\ud800"}}',
        b'{"event":"call_ended","x":' + b"9" * 100_000 + b"}",
        b'{"event":"call_ended","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"event":"call_ended","x":NaN}',
        b'\xef\xbb\xbf{"event":"call_ended"}',
    ],
)
def test_takes_odd_events(site: Site, body: bytes) -> None:
    """Depth, digits and odd values do not keep a signed event out, and its bytes stay the same."""
    assert site.post(body)["statusCode"] == 204
    assert open_payload(site.message) == body
    assert site.forwarded[0].encode()


def test_refuses_more_than_ten_megabytes(site: Site) -> None:
    """Ten megabytes are taken, a byte more is 413."""
    frame = b'{"event":"x","y":""}'
    most = frame[:-2] + b"y" * (MAX_BODY_BYTES - len(frame)) + frame[-2:]
    assert site.post(most)["statusCode"] == 204
    refused = site.post(most + b" ")
    assert refused["statusCode"] == 413
    assert str(MAX_BODY_BYTES + 1) in refused["body"]


def test_compresses_what_the_queue_would_not_take(site: Site) -> None:
    """A body over the queue's limit goes compressed, all of it."""
    body = large(3_000_000, "Well, Zoë, as I said. ")
    assert site.post(body)["statusCode"] == 204
    assert site.message.encoding == "zlib"
    assert open_payload(site.message) == body
    assert len(site.forwarded[0].encode()) < MAX_MESSAGE_BYTES
    assert site.parked == {}


def test_compresses_what_only_its_escapes_make_too_large(site: Site) -> None:
    """A body under the limit that would be over it inside an envelope goes compressed."""
    body = large(900_000, '"\\')
    assert len(body) > MAX_MESSAGE_BYTES
    quoted = b'{"event":"x","y":[' + b'"a",' * 200_000 + b'""]}'
    assert len(quoted) < MAX_MESSAGE_BYTES
    assert site.post(quoted)["statusCode"] == 204
    assert site.message.encoding == "zlib"


def test_parks_what_even_compressed_is_too_large(site: Site) -> None:
    """The rest is parked whole, under a key with its inbox identity; a pointer goes on."""
    body = large(4_000_000, noise(4_000_000))
    assert site.post(body)["statusCode"] == 204
    key = parking_key("call_1", "call_analyzed", body_sha256(body))
    assert site.parked == {key: body}
    assert site.message == EventMessage(
        "call_1", "call_analyzed", body_sha256(body), NOW, "parked", key
    )


def test_a_queue_that_is_away(site: Site) -> None:
    """While queue or parking is away the answer is 503, and says nothing of what is inside."""
    site.failing = True
    for body in (BODY, large(4_000_000, noise(4_000_000))):
        answer = site.post(body)
        assert answer["statusCode"] == 503
        assert "secret" not in answer["body"]


def test_agrees_with_the_sdk(site: Site) -> None:
    """What the SDK's own check accepts is taken, what it refuses is not."""
    now = time.time_ns() // 1_000_000
    client = retell.Retell(api_key=KEY)
    entry = Entry((KEY,), site.forwarded.append, lambda _key, _data: None)
    text = BODY.decode()
    for signature in (
        sign(KEY, BODY, now),
        sign(KEY, BODY, now - TOLERANCE_MS + 60_000),
        sign(KEY, BODY, now + TOLERANCE_MS - 60_000),
        sign(KEY, BODY, now - TOLERANCE_MS - 60_000),
        sign("key_other", BODY, now),
        sign(KEY, BODY + b" ", now),
        sign(KEY, BODY, now).upper(),
        f" {sign(KEY, BODY, now)}",
        "",
    ):
        taken = entry(function_url_event(BODY, signature))["statusCode"] == 204
        accepted: bool = client.verify(text, KEY, signature)  # type: ignore[no-untyped-call]
        assert taken == accepted, signature


HEADERS = st.dictionaries(
    st.sampled_from([HEADER, HEADER.upper(), "content-type"]) | st.text(max_size=5),
    st.text(max_size=90) | st.none() | st.lists(st.text(max_size=9), max_size=2),
    max_size=4,
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=2)
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "headers": HEADERS | ANYTHING,
            "multiValueHeaders": HEADERS | ANYTHING,
            "body": st.text() | st.binary().map(lambda raw: base64.b64encode(raw).decode()),
            "isBase64Encoded": st.booleans() | ANYTHING,
        },
    )
    | ANYTHING
)
def test_nothing_unsigned_goes_on(event: object) -> None:
    """No request makes the entry raise or answer 5xx, and none without a signature is forwarded."""
    site = Site()
    assert site.entry()(event)["statusCode"] in {400, 401, 413}
    assert site.forwarded == []


@given(st.binary() | st.text().map(lambda text: json.dumps({"event": text}).encode()))
def test_whatever_is_signed_is_judged(body: bytes) -> None:
    """Signed bytes are taken or 400, and what is taken opens to the same bytes."""
    site = Site()
    status = site.post(body)["statusCode"]
    assert status in {204, 400}
    assert [open_payload(decode_event(message)) for message in site.forwarded] == (
        [body] if status == 204 else []
    )


# The handler as AWS calls it.


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What a Lambda on embedded parts is given."""
    settings = {
        "OUTDIAL_EVENT_QUEUE_URL": f"sqlite:///{tmp_path}/queue.db?queue=events",
        "OUTDIAL_RETELL_WEBHOOK_KEY": f"key_new, {KEY}",
        "OUTDIAL_PARKED_URL": str(tmp_path / "parked"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(webhook_lambda, "_entry", None)
    return settings


async def test_the_handler(environment: dict[str, str], tmp_path: Path) -> None:
    """Configured by its environment, it answers 204 when the message is durable in the queue."""
    now = time.time_ns() // 1_000_000
    event = function_url_event(BODY, sign(KEY, BODY, now))
    for _ in range(2):
        assert webhook_lambda.handler(event, object()) == {"statusCode": 204}
    file = QueueFile(tmp_path / "queue.db")
    queue: Queue = SQLiteQueue(file, "events")
    assert [open_payload(decode_event(one.body)) for one in await queue.receive(5)] == [BODY, BODY]
    file.close()


def test_the_handler_parks_in_a_folder(environment: dict[str, str], tmp_path: Path) -> None:
    """What is too large for the queue lies in the folder of the environment."""
    body = large(4_000_000, noise(4_000_000))
    signature = sign(KEY, body, time.time_ns() // 1_000_000)
    answer = webhook_lambda.handler(function_url_event(body, signature), None)
    assert answer["statusCode"] == 204
    (parked,) = (tmp_path / "parked").iterdir()
    assert parked.read_bytes() == body


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OUTDIAL_RETELL_WEBHOOK_KEY", None, "OUTDIAL_RETELL_WEBHOOK_KEY is not set"),
        ("OUTDIAL_RETELL_WEBHOOK_KEY", " , ", "OUTDIAL_RETELL_WEBHOOK_KEY is not set"),
        ("OUTDIAL_EVENT_QUEUE_URL", None, "OUTDIAL_EVENT_QUEUE_URL is not set"),
        ("OUTDIAL_EVENT_QUEUE_URL", "https://sqs.example/1/events", "sqlite:///PATH"),
        ("OUTDIAL_EVENT_QUEUE_URL", "sqlite:///queue.db", "sqlite:///PATH"),
        ("OUTDIAL_EVENT_QUEUE_URL", "sqlite://host/queue.db?queue=events", "sqlite:///PATH"),
        ("OUTDIAL_PARKED_URL", None, "OUTDIAL_PARKED_URL is not set"),
        ("OUTDIAL_PARKED_URL", "s3://Bucket", "OUTDIAL_PARKED_URL is neither s3://"),
        ("OUTDIAL_PARKED_URL", "s3://bucket/prefix", "AWS_REGION is not set"),
        ("OUTDIAL_EVENT_QUEUE_URL", "https://sqs.example/123456789012/events", "AWS_REGION"),
    ],
)
def test_a_wrong_environment(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str | None,
    said: str,
) -> None:
    """What is missing or wrong is named in the log; the answer is 503, so that nothing is lost."""
    if value is None:
        monkeypatch.delenv(name)
        del environment[name]
    else:
        monkeypatch.setenv(name, value)
        environment[name] = value
    with pytest.raises(ConfigurationError, match=said):
        from_environment(environment)
    event = function_url_event(BODY, sign(KEY, BODY, time.time_ns() // 1_000_000))
    assert webhook_lambda.handler(event, None)["statusCode"] == 503


@pytest.mark.parametrize(("key", "ready"), [("key", True), ("", False)])
def test_a_lambda_is_configured_as_it_starts(key: str, ready: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a parameter
    """On Lambda, where starting is given more than working; a wrong set-up does not stop it."""
    settings = {
        "AWS_LAMBDA_FUNCTION_NAME": "webhook",
        "AWS_REGION": "eu-west-1",
        "OUTDIAL_EVENT_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/events",
        "OUTDIAL_PARKED_URL": str(tmp_path),
        "OUTDIAL_RETELL_WEBHOOK_KEY": key,
    }
    script = "from outdial import webhook_lambda; print(webhook_lambda._entry is not None)"
    done = subprocess.run(
        [sys.executable, "-c", script], env=settings, capture_output=True, check=True, text=True
    )
    assert done.stdout.strip() == str(ready)


def test_the_api_key_signs_by_default() -> None:
    """Without a key of their own, webhooks are signed with the API key."""
    entry = from_environment(
        {
            "OUTDIAL_RETELL_API_KEY": "key_api",
            "OUTDIAL_EVENT_QUEUE_URL": "sqlite:///queue.db?queue=events",
            "OUTDIAL_PARKED_URL": "parked",
        }
    )
    assert entry.keys == ("key_api",)


def test_imports_the_standard_library_only() -> None:
    """A cold start loads nothing that the Lambda runtime does not carry."""
    script = (
        "import sys; before = set(sys.modules); import outdial.webhook_lambda\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(loaded - sys.stdlib_module_names - {'outdial'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"

"""The webhook's door under attack: it never breaks, and lets in only what was truly signed."""

import base64
import hashlib
import json
import logging
import os
import random
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from outdial.adapters.memory import MemoryParking, MemoryQueue
from outdial.core.messages import decode_event, open_payload
from outdial.core.signature import HEADER, sign
from outdial.errors import Unavailable
from outdial.webhook_lambda import MAX_BODY_BYTES, Entry, Response
from outdial.webhook_route import PATH, WebhookRoute, webhook_app
from tests.properties.hostile_requests import KEYS, NOW, POISON, Hostile

#: Another seed makes other requests: FUZZ_SEED=…, FUZZ_INPUTS=….
SEED = int(os.environ.get("FUZZ_SEED", "20261122"))
INPUTS = int(os.environ.get("FUZZ_INPUTS", "100000"))
#: Made in so many parts, each with a seed of its own, which run side by side.
PARTS = 4


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    """A line in the log for each refusal is what is wanted, and too much here."""
    log = logging.getLogger("outdial.webhook")
    was, log.disabled = log.disabled, True
    yield
    log.disabled = was


class Door:
    """An entry, and what came through it. A queue that is `away` takes nothing."""

    def __init__(self) -> None:
        """Two keys, as while one is rotated."""
        self.through: list[str] = []
        self.parked: dict[str, bytes] = {}
        self.away = False
        self.knock = Entry(KEYS, self._forward, self._park, lambda: NOW)

    def _forward(self, message: str) -> None:
        self._reach()
        self.through.append(message)

    def _park(self, key: str, body: bytes) -> None:
        self._reach()
        self.parked[key] = body

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("event queue", "away")

    def bodies(self) -> list[bytes]:
        """What came through, opened; and the door is clear again."""
        found = []
        for text in self.through:
            message = decode_event(text)
            body = self.parked.get(message.payload) if message.encoding == "parked" else None
            found.append(open_payload(message) if body is None else body)
        self.through.clear()
        self.parked.clear()
        return found


def is_answer(answer: Response) -> bool:
    """Whether it is one that a Lambda may give."""
    json.dumps(answer)
    return isinstance(answer["statusCode"], int) and isinstance(answer.get("body", ""), str)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_door_holds(part: int, record_property: Callable[[str, object], None]) -> None:
    """100,000 requests: no 5xx while the queue is there, nothing through that was not signed."""
    seed, inputs = SEED + part, INPUTS // PARTS
    hostile, door = Hostile(seed), Door()
    answered: Counter[int] = Counter()
    away: Counter[int] = Counter()
    began = time.process_time()
    for number in range(inputs):
        request = hostile.request()
        door.away = number % 50 == 0
        answer = door.knock(request.event)
        where = (seed, number, request)
        status = answer["statusCode"]
        (away if door.away else answered)[status] += 1
        assert is_answer(answer), where
        assert (status == 204) == bool(door.through), where
        if door.through:
            assert set(door.bodies()) <= request.signed, where
    took = time.process_time() - began
    record_property(
        "figures",
        f"{inputs} hostile webhooks, seed {seed}: {dict(answered)}; "
        f"queue away: {dict(away)}; {took:.1f} s CPU",
    )
    assert answered.keys() == {204, 400, 401}
    assert away.keys() <= {400, 401, 503}
    assert away[503] > inputs / 2000
    # They are no noise that fails at the first look: many get as far as they may.
    assert min(answered.values()) > inputs / 50


def test_what_is_truly_signed_is_taken() -> None:
    """Signed and carried whole, every one that is a JSON object with a string `event` is a 204."""
    hostile, door = Hostile(SEED), Door()
    taken = 0
    for _ in range(max(INPUTS // 20, 1)):
        body = hostile.body()
        event = {
            "headers": {HEADER: sign(KEYS[1], body, NOW)},
            "body": base64.b64encode(body).decode(),
            "isBase64Encoded": True,
        }
        status = door.knock(event)["statusCode"]
        assert status == 204 if is_event(body) else status in {204, 400}, body
        bodies = door.bodies()
        assert bodies == ([body] if status == 204 else []), body
        taken += status == 204
    assert taken > INPUTS / 100


def is_event(body: bytes) -> bool:
    """Whether the strictest of readers would call it one."""
    try:
        read = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    return isinstance(read, dict) and isinstance(read.get("event"), str)


# The same door over HTTP: what a socket may bring.


class Socket:
    """One request as ASGI brings it, in pieces; it may hang up."""

    def __init__(self, headers: list[tuple[bytes, bytes]], pieces: Iterator[bytes]) -> None:
        """`pieces` may go on for ever."""
        self.scope = {
            "type": "http",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "method": "POST",
            "headers": headers,
        }
        self._pieces = pieces
        self.read = 0
        self.hangs_up = False
        self.status: int | None = None

    async def receive(self) -> dict[str, Any]:
        """The next piece."""
        piece = next(self._pieces, None)
        if piece is None and self.hangs_up:
            return {"type": "http.disconnect"}
        self.read += len(piece or b"")
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def send(self, message: Mapping[str, Any]) -> None:
        """Keep the status."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            for name, value in message["headers"]:
                assert isinstance(name, bytes)
                assert isinstance(value, bytes)


async def test_the_door_holds_over_http() -> None:
    """Headers of any bytes, repeated or missing, bodies in any pieces: as the Lambda's own."""
    queue, parking = MemoryQueue("events"), MemoryParking()
    app = WebhookRoute(KEYS, queue, parking, lambda: NOW)
    hostile = Hostile(SEED)
    pick = hostile.random
    answered: Counter[int | None] = Counter()
    for _ in range(INPUTS // 20):
        request = hostile.request()
        made = request.event if isinstance(request.event, dict) else {}
        given = made.get("headers")
        headers = [
            (str(name).lower().encode("utf-8", "replace"), str(value).encode("utf-8", "replace"))
            for name, value in (given.items() if isinstance(given, dict) else ())
        ]
        if pick.random() < 0.2:
            headers += pick.choices([*headers, (b"\xff", b"\x80"), (b"", b"")], k=2)
        if pick.random() < 0.2:
            length = pick.choice([b"", b"-1", b"\xb2", b"7", b"10000000", b"9" * 19, b"1e3", b"0x"])
            headers.append((b"content-length", length))
        socket = Socket(headers, pieces_of(request.body, pick))
        socket.hangs_up = pick.random() < 0.05
        await app(socket.scope, socket.receive, socket.send)
        answered[socket.status] += 1
        received = await queue.receive(10, wait=0, visibility=30)
        if socket.status == 204:
            [message] = received
            assert open_payload(decode_event(message.body)) in request.signed
            await queue.delete([message])
        else:
            assert received == []
    assert answered.keys() == {204, 400, 401, 413, None}
    assert answered[204] > INPUTS / 400


def pieces_of(body: bytes, pick: random.Random) -> Iterator[bytes]:
    """The body in pieces, some of them empty."""
    at = 0
    while at < len(body):
        size = pick.choice([0, 1, 50, 400, 10_000])
        yield body[at : at + size]
        at += size


async def test_no_more_than_the_limit_is_held() -> None:
    """A body that is too large is a 413 without ever being in memory, whatever length it claims."""
    queue, parking = MemoryQueue("events"), MemoryParking()
    app = webhook_app(KEYS, queue, parking)
    pick = random.Random(SEED)  # noqa: S311
    tracemalloc.start()
    try:
        for number in range(16):
            piece = bytes(pick.choice([65_536, 200_000, 1_000_000]))
            more = [MAX_BODY_BYTES + 1, 2 * MAX_BODY_BYTES, 400_000_000][number % 3]
            claim = pick.choice([None, b"10", b"10000000", b"10000001", b"9" * 18, b"9" * 4_000])
            headers = [] if claim is None else [(b"content-length", claim)]
            headers.append((HEADER.encode(), sign(KEYS[0], b"{}", NOW).encode()))
            socket = Socket(headers, (piece for _ in range(-(-more // len(piece)))))
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            await app(socket.scope, socket.receive, socket.send)
            held = tracemalloc.get_traced_memory()[1] - before
            assert socket.status == 413
            # A buffer that grows is copied once in a while.
            assert held < 2.5 * MAX_BODY_BYTES, (held, claim, len(piece))
            if claim is not None and len(claim) > 8:
                assert held < 100_000
            # What is read to be dropped has an end too.
            assert socket.read < 50_000_000
    finally:
        tracemalloc.stop()
    assert await queue.receive(10, wait=0, visibility=30) == []


def test_a_lambda_does_not_decode_what_is_too_large() -> None:
    """Its body is in memory already; it is not there a second time before it is refused."""
    door = Door()
    text = "A" * 40_000_000
    tracemalloc.start()
    try:
        answer = door.knock({"headers": {}, "body": text, "isBase64Encoded": True})
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer["statusCode"] == 413
    assert held < 1_000_000


def test_the_maker_makes_the_same_again() -> None:
    """A printed seed is enough to see a failure again."""
    one, other = ([repr(made.request()) for _ in range(200)] for made in (Hostile(7), Hostile(7)))
    assert one == other
    assert len({hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in one}) > 190
    assert len(POISON) == len(set(POISON))

"""A seeded maker of webhook requests as an enemy would send them, or a broken proxy.

It starts from recorded events, signs most of them, and then breaks bytes, signature and transport
at will. It knows which bytes were truly signed, so that nobody has to ask the code under test.
"""

import base64
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from outdial.core.signature import HEADER, TOLERANCE_MS, sign

EVENTS = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "events").iterdir())]
KEYS = ("key_of_the_tests", "key_before_it")
NOW = 1_763_827_300_000

#: Values of JSON that stop careless readers, as they stand in a body.
POISON = [
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'""',
    b"-0",
    b"1e999",
    b"-1e-999",
    b"NaN",
    b"Infinity",
    b"9" * 25,
    b"-" + b"9" * 400,
    b"1" * 5_000,
    b"0." + b"3" * 900,
    b'"\\u0000"',
    b'"\\ud800"',
    b'"\\udfff\\ud800"',
    b'"\\uffff\xef\xbf\xbe"',
    b'"\xed\xa0\x80"',
    b'"\xff\xfe"',
    b'"\xf4\x90\x80\x80"',
    b"[" * 40 + b"]" * 40,
    b"[" * 1_500 + b"]" * 1_500,
    b'{"a":' * 300 + b"1" + b"}" * 300,
    b"[" * 3_000,
    b'{"call_id":"x","call_id":7}',
    b'"' + b"x" * 3_000 + b'"',
    b'"' + "😀é\u2028".encode() * 40 + b'"',
    b"\xef\xbb\xbf{}",
    b"0x10",
    b"'a'",
    b"/**/1",
]
_PUNCTUATION = b'{}[]",:\\'
_VALUES = [None, "", "x", 0, 1.5, True, [], [None], {}, {"a": 1}, [["x"]], "\ud800", "\u0000"]


@dataclass(frozen=True, slots=True)
class Request:
    """A request; `signed`: the bytes that a key of ours signed just now for it."""

    event: object
    body: bytes
    signed: frozenset[bytes]


class Hostile:
    """Makes requests; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        """Nothing else decides what is made."""
        self.random = random.Random(seed)  # noqa: S311 - hides nothing

    def request(self) -> Request:
        """One request: signed or not, broken or not."""
        pick = self.random
        body = self.body()
        signature, signed = self._signature(body)
        if pick.random() < 0.35:
            # Signed first, and touched on its way.
            body = self._touched(body)
        return Request(self._transport(body, signature), body, signed)

    def body(self) -> bytes:
        """An event as recorded, with some of its values gone bad, or noise."""
        pick = self.random
        kind = pick.random()
        if kind < 0.1:
            return pick.randbytes(pick.choice([0, 1, 2, 7, 64, 700]))
        body = pick.choice(EVENTS)
        if kind < 0.35:
            return body
        if kind < 0.45:
            return pick.choice(POISON)
        for _ in range(pick.choice([1, 1, 1, 2, 3, 8])):
            body = self._value_replaced(body) if pick.random() < 0.7 else self._touched(body)
        return body

    def _value_replaced(self, body: bytes) -> bytes:
        """What follows one of the colons becomes something else."""
        at = body.find(b":", self.random.randrange(len(body) + 1)) + 1
        end = min((e for e in (body.find(b",", at), body.find(b"}", at)) if e >= 0), default=at)
        return body[:at] + self.random.choice(POISON) + body[end:]

    def _touched(self, body: bytes) -> bytes:
        """Some bytes flipped, cut, doubled, moved or put in."""
        pick = self.random
        at, to = sorted(pick.randrange(len(body) + 1) for _ in range(2))
        changes: Sequence[Callable[[], bytes]] = (
            lambda: body[:at] + bytes([pick.randrange(256)]) + body[at + 1 :],
            lambda: body[:at] + bytes([pick.choice(_PUNCTUATION)]) + body[at:],
            lambda: body[:at] + body[to:],
            lambda: body[:at],
            lambda: body[:to] + body[at:],
            lambda: body[:at] + pick.randbytes(3) + body[at:],
            lambda: body + pick.choice([b" ", b"\n", b"\x00", b"1"]),
            lambda: body[:-1],
            lambda: b"\xef\xbb\xbf" + body,
        )
        return pick.choice(changes)()

    def _signature(self, body: bytes) -> tuple[object, frozenset[bytes]]:
        """The header's value, and what was truly and freshly signed for it."""
        pick = self.random
        true = frozenset({body})
        kind = pick.randrange(24)
        if kind < 11:
            at = NOW + pick.choice([0, 1, -1, 500, TOLERANCE_MS, -TOLERANCE_MS])
            return sign(pick.choice(KEYS), body, at), true
        good = sign(KEYS[0], body, NOW)
        version, _, digest = good.partition(",d=")
        flipped = "0" if digest[-1] != "0" else "1"
        forged: Sequence[object] = (
            sign("another_key", body, NOW),
            sign("", body, NOW),
            sign(KEYS[0], body, NOW + pick.choice([-1, 1]) * (TOLERANCE_MS + 1)),
            # The last digit of the time as the body's, and the body's as the time's.
            f"v={str(NOW)[:-1]},d={digest}",
            f"v={NOW}0,d={digest}",
            f"v={NOW + 1},d={digest}",
            f"v={'9' * pick.choice([20, 400, 5_000])},d={digest}",
            good[:-1] + flipped,
            f"{version},d={flipped}{digest[1:]}" if digest[0] != flipped else good[:-1],
            f"{version},d={digest.upper()}",
            good[: pick.randrange(len(good))],
            f"{good},{good}",
            f"{good} ",
            f"{good}\n",
            f"{version},d={'0' * 64}",
            f"v=-{NOW},d={digest}",
            f"d={digest},{version}",
            f"{version},d={digest[:-1]}\u0661",
            "v=,d=",
            "",
            None,
            pick.choice(_VALUES),
            pick.randbytes(pick.randrange(80)).decode("latin-1"),
            b"v=1",
        )
        return pick.choice(forged), frozenset()

    def _transport(self, body: bytes, signature: object) -> object:
        """As a function URL, an API Gateway of either kind or an ALB tells it; or awry."""
        pick = self.random
        name = pick.choice([HEADER, HEADER, HEADER.upper(), "X-Retell-Signature"])
        event: dict[str, Any] = {"headers": {"content-type": "application/json", name: signature}}
        shape = pick.randrange(5)
        if shape == 0:
            event |= {"version": "1.0", "httpMethod": "POST", "resource": "/webhooks/retell"}
            event["multiValueHeaders"] = {name: [signature]}
        elif shape == 1:
            event |= {"requestContext": {"elb": {"targetGroupArn": "arn:x"}}, "httpMethod": "POST"}
            if pick.random() < 0.5:
                event["multiValueHeaders"] = {name: [signature]}
                del event["headers"]
        else:
            event |= {"version": "2.0", "requestContext": {"http": {"method": "POST"}}}
        self._carry(event, body)
        if pick.random() < 0.25:
            return self._awry(event, name, signature)
        return event

    def _carry(self, event: dict[str, Any], body: bytes) -> None:
        event["isBase64Encoded"] = self.random.random() < 0.5
        if event["isBase64Encoded"]:
            event["body"] = base64.b64encode(body).decode()
        else:
            # A body that is no text can't be told so; it comes changed then.
            event["body"] = body.decode("utf-8", self.random.choice(["replace", "surrogateescape"]))

    def _awry(self, event: dict[str, Any], name: str, signature: object) -> object:
        pick = self.random
        wrong = pick.choice(_VALUES)
        headers = {name: signature}
        changes: Sequence[Callable[[], object]] = (
            partial(event.update, body=wrong),
            partial(event.update, headers=wrong),
            partial(event.update, multiValueHeaders=wrong),
            partial(event.update, requestContext=wrong),
            partial(event.update, isBase64Encoded=pick.choice([None, 0, 1, "", "false", [], {}])),
            partial(event.update, body=str(event["body"])[:-1] + pick.choice("=é\ud800 ")),
            partial(event.pop, pick.choice(sorted(event))),
            partial(event.update, headers={}, multiValueHeaders={name: [signature, signature]}),
            partial(event.update, multiValueHeaders={name: []}),
            partial(event.update, multiValueHeaders={name: [[signature]]}),
            partial(event.update, headers={7: signature, None: wrong} | headers),
            partial(event.update, headers=headers | {name.swapcase(): wrong}),
            partial(event.update, headers=[headers]),
        )
        pick.choice(changes)()
        return event if pick.random() < 0.95 else wrong

"""Signed, and hostile all the same: what comes behind the door reads it or calls it poison."""

import random
import zlib
from base64 import b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outdial.core.lenient_json import decode_object
from outdial.core.messages import (
    EventMessage,
    MalformedMessageError,
    decode_call_hint,
    decode_event,
    encode_event,
    open_payload,
)
from outdial.core.retell_events import body_sha256, parse
from outdial.core.submission import Placed
from outdial.errors import Poison
from outdial.ports.dialing import Claim
from outdial.ports.inbox import Disposition
from tests.ledger_world import (
    analyzed,
    ended,
    incoming,
    open_world,
    retell_id,
    started,
    unanswered,
    webhook,
)
from tests.properties.hostile_requests import POISON, Hostile

SEED = 20261122
_KINDS = ("call_started", "call_ended", "call_analyzed", "transfer_started", "", "\u0000")


def test_every_body_can_be_read() -> None:
    """8,000 bodies: decoded or None, and what is decoded is parsed into what columns hold."""
    hostile = Hostile(SEED)
    read = 0
    for _ in range(8_000):
        body = hostile.body()
        payload = decode_object(body)
        if payload is None:
            continue
        read += 1
        parsed = parse(payload)
        assert len(parsed.event) <= 255, body
        assert 0 <= parsed.event_timestamp <= 2**53, body
        orjson.dumps(parsed.details)
    assert read > 2_000


def test_every_message_can_be_opened() -> None:
    """8,000 messages in the event queue: a body, or `MalformedMessageError`."""
    hostile = Hostile(SEED)
    pick = hostile.random
    for _ in range(8_000):
        body = hostile.body()
        message = orjson.loads(
            encode_event(
                EventMessage("call_1", "x", body_sha256(body), 1, "zlib", b64encode(body).decode())
            )
        )
        if pick.random() < 0.5:
            message["payload"] = b64encode(zlib.compress(body)).decode()
        if pick.random() < 0.7:
            wrong: object = pick.choice(
                [None, 1, "", "plain", "parked", "\u0000", [], {}, True, 2**53, "é"]
            )
            message[pick.choice(list(message))] = wrong
        text = orjson.dumps(message).decode()
        if pick.random() < 0.2:
            text = text[: pick.randrange(len(text))]
        try:
            opened = decode_event(text)
            if opened.encoding != "parked":
                assert isinstance(open_payload(opened), bytes)
        except MalformedMessageError:
            continue


@given(
    st.text()
    | st.recursive(st.none() | st.text(), st.lists).map(lambda x: orjson.dumps(x).decode())
)
def test_every_hint_can_be_read(body: str) -> None:
    """Whatever lies in the call queue: a hint, or `MalformedMessageError`."""
    try:
        assert isinstance(decode_call_hint(body).call_id, str)
    except MalformedMessageError:
        return


class Enemy:
    """Signs what it likes about our calls: their ids are right, all the rest may be anything."""

    def __init__(self, pick: random.Random) -> None:
        """`pick` decides everything."""
        self.pick = pick

    def body(self, claim: Claim, others: list[Claim]) -> bytes:
        """An event of this call, with some of its fields gone bad."""
        pick = self.pick
        make = pick.choice([started, ended, analyzed, unanswered])
        event: dict[str, Any] = orjson.loads(make(claim))
        for _ in range(pick.choice([0, 1, 1, 2, 5])):
            self._spoil(event)
        if pick.random() < 0.1:
            event["event"] = pick.choice(_KINDS)
        if pick.random() < 0.1 and isinstance(event.get("call"), dict):
            # About one call by its metadata, about another by its id; or about no call at all.
            event["call"]["call_id"] = pick.choice(
                [retell_id(pick.choice(others)), "call_of_others", "", None, 7, "\u0000", "x" * 999]
            )
        body = orjson.dumps(event)
        while b'"SPOILED"' in body:
            body = body.replace(b'"SPOILED"', pick.choice(POISON), 1)
        return body

    def _spoil(self, event: dict[str, Any]) -> None:
        """One field somewhere becomes anything."""
        inside = event
        while True:
            name = self.pick.choice([*inside, "new"])
            deeper = inside.get(name)
            if isinstance(deeper, dict) and deeper and self.pick.random() < 0.9:
                inside = deeper
                continue
            inside[name] = "SPOILED"
            return


def is_object(body: bytes) -> bool:
    """Whether anybody could read it as a JSON object."""
    return decode_object(body) is not None


def assert_told_once(events: list[dict[str, Any]]) -> None:
    """In sequence, under ids of their own; begun once, and ended once at most."""
    assert [event["data"]["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert len({event["id"] for event in events}) == len(events)
    told = [event["type"].removeprefix("voice_call.") for event in events]
    assert told in (
        [],
        ["initiated"],
        ["initiated", "started"],
        ["initiated", "failed"],
        ["initiated", "started", "completed"],
    )


async def test_an_event_without_a_call_is_nobodys(ledger_url: str) -> None:
    """Metadata of ours in an event that names no call: kept, and it is not taken for an id."""
    async with open_world(ledger_url) as world:
        claim, other = [await world.claim(await world.accept()) for _ in range(2)]
        [taken] = await world.hear(webhook(claim, "call_ended", retell_call_id=""))
        assert taken.disposition is Disposition.FOREIGN
        [taken] = await world.hear(webhook(other, "call_ended", retell_call_id=""))
        assert taken.disposition is Disposition.FOREIGN
        await world.answer(claim, Placed(retell_id(claim)))
        assert await world.told(claim.call_id) == ["initiated"]
        assert await world.told(other.call_id) == []
        assert await world.alarms() == []


@pytest.mark.parametrize("seed", range(2))
async def test_the_ledger_takes_every_event(ledger_url: str, seed: int) -> None:
    """300 signed but hostile events of ten calls: kept, or `Poison`; every promise still holds."""
    enemy = Enemy(random.Random(SEED + seed))  # noqa: S311
    async with open_world(ledger_url) as world:
        claims = [await world.claim(await world.accept()) for _ in range(10)]
        taken = 0
        for number in range(300):
            claim = enemy.pick.choice(claims)
            body = enemy.body(claim, claims)
            try:
                [kept] = await world.ledger.inbox.take([incoming(body)])
            except Poison:
                assert not is_object(body), body
                continue
            taken += kept.disposition is Disposition.APPLIED
            if number % 50 == 0:
                await world.answer(claim, Placed(retell_id(claim)))
        assert taken > 100
        for claim in claims:
            await world.hear(analyzed(claim))
            assert_told_once(await world.events(claim.call_id))
        stored = [event.id async for page in world.ledger.inbox.stored() for event in page]
        before = [await world.events(claim.call_id) for claim in claims]
        await world.ledger.inbox.replay(stored[::-1])
        assert before == [await world.events(claim.call_id) for claim in claims]

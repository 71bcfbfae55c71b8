"""A ledger of a test's own, and the words to tell it a call's story in."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import uuid_utils
from sqlalchemy import Connection, text

from outdial.adapters.database import DialingRules, Ledger, Limits
from outdial.core.submission import Absent, Placed, Submission
from outdial.ports.dialing import Answer, Claim, Recorded
from outdial.ports.inbox import Incoming, Taken
from outdial.ports.intake import Accepted, CallRecord, NewCall

RULES = DialingRules(
    limits=Limits(rate=1000, lines=1000),
    lease_ms=60_000,
    submit_ms=3_000_000,
    default_from_number="+14155550100",
)


@asynccontextmanager
async def open_world(url: str, rules: DialingRules = RULES) -> AsyncIterator["World"]:
    """An empty ledger at this URL, at the newest schema."""
    ledger = Ledger.open(url, rules)
    try:
        await ledger.upgrade()
        # A new bucket is empty; a second later it is full.
        ledger.clock.ahead = 1_000
        yield World(ledger)
    finally:
        await ledger.close()


@dataclass
class World:
    """The ledger, and steps of a call's life that tests are made of."""

    ledger: Ledger

    async def accept(self, **fields: Any) -> str:
        """A call is asked for; its id."""
        call = NewCall(
            id=str(uuid_utils.uuid7()),
            tenant=fields.pop("tenant", "acme"),
            to_number=fields.pop("to_number", "+12125550101"),
            **fields,
        )
        [accepted] = await self.ledger.intake.accept([call], publish=False)
        assert isinstance(accepted, Accepted)
        return accepted.call_id

    async def claim(self, call_id: str) -> Claim:
        """A worker takes it."""
        [claim] = await self.ledger.dialing.claim([call_id])
        assert isinstance(claim, Claim), claim
        return claim

    async def answer(
        self, claim: Claim, submission: Submission | Absent, *, submitted: bool = True
    ) -> Recorded:
        """Retell answered its submission, or the look-up before it."""
        told = Answer(claim.call_id, claim.attempt_id, claim.lease_token, submission, submitted)
        [recorded] = await self.ledger.dialing.record([told])
        return recorded

    async def placed(self, **fields: Any) -> tuple[str, Claim]:
        """A call that Retell has taken as `call_1`, …, and its claim."""
        call_id = await self.accept(**fields)
        claim = await self.claim(call_id)
        await self.answer(claim, Placed(retell_id(claim)))
        return call_id, claim

    async def hear(self, *events: bytes) -> list[Taken]:
        """Webhooks, in one batch."""
        return await self.ledger.inbox.take([incoming(body) for body in events])

    async def call(self, call_id: str) -> CallRecord:
        """What the Voice API would show."""
        record = await self.ledger.intake.get(None, call_id)
        assert record is not None
        return record

    async def told(self, call_id: str) -> list[str]:
        """Types of the activity events told of a call, in order, without their prefix."""
        return [event["type"].removeprefix("voice_call.") for event in await self.events(call_id)]

    async def events(self, call_id: str) -> list[dict[str, Any]]:
        """The activity events told of a call, in order, whole."""
        query = text("SELECT event FROM activity_events WHERE call_id = :id ORDER BY sequence")
        rows = await self.rows(query, id=call_id)
        return [orjson.loads(row[0]) for row in rows]

    async def alarms(self) -> list[tuple[str, str]]:
        """Kinds of alarms raised, and the Retell calls they are about."""
        rows = await self.rows(text("SELECT kind, retell_call_id FROM alarms ORDER BY kind"))
        return [(row[0], row[1]) for row in rows]

    async def now(self) -> int:
        """The ledger's clock, in ms."""
        return await self.ledger.database.read(self.ledger.clock.now)

    async def rows(self, query: Any, **parameters: Any) -> list[Any]:
        """What a query gives."""

        def look(connection: Connection) -> list[Any]:
            return list(connection.execute(query, parameters))

        return await self.ledger.database.read(look)


def retell_id(claim: Claim) -> str:
    """The id Retell gives a call in these tests."""
    return f"call_{claim.attempt_id}"


def webhook(claim: Claim, event: str, *, retell_call_id: str | None = None, **call: Any) -> bytes:
    """A webhook body about the call of a claim; `call` adds to its call object."""
    payload = {
        "event": event,
        "event_timestamp": call.pop("event_timestamp", 1_700_000_000_000),
        "call": {
            "call_id": retell_id(claim) if retell_call_id is None else retell_call_id,
            "agent_id": "agent_1",
            "metadata": claim.body["metadata"],
            **call,
        },
    }
    return orjson.dumps(payload)


def started(claim: Claim, **call: Any) -> bytes:
    """`call_started`."""
    return webhook(
        claim, "call_started", call_status="ongoing", start_timestamp=1_700_000_001_000, **call
    )


def ended(claim: Claim, **call: Any) -> bytes:
    """`call_ended` of a connected call."""
    return webhook(claim, "call_ended", **{**_CONNECTED, **call})


def analyzed(claim: Claim, **call: Any) -> bytes:
    """`call_analyzed` of a connected call."""
    analysis = {"call_summary": "Booked.", "call_successful": True, "user_sentiment": "Positive"}
    return webhook(claim, "call_analyzed", **{**_CONNECTED, "call_analysis": analysis, **call})


def unanswered(claim: Claim, reason: str = "dial_no_answer", **call: Any) -> bytes:
    """`call_analyzed` of a call that never connected."""
    status = "error" if reason == "concurrency_limit_reached" else "not_connected"
    return webhook(
        claim,
        "call_analyzed",
        call_status=status,
        disconnection_reason=reason,
        duration_ms=0,
        call_analysis={"call_successful": False},
        **call,
    )


_CONNECTED = {
    "call_status": "ended",
    "start_timestamp": 1_700_000_001_000,
    "end_timestamp": 1_700_000_062_000,
    "duration_ms": 61_000,
    "disconnection_reason": "user_hangup",
    "transcript": "Agent: Hello.\nUser: Hi.",
    "call_cost": {"combined_cost": 12.5},
}


def incoming(body: bytes) -> Incoming:
    """As the webhook entry hands it on."""
    return Incoming(body, hashlib.sha256(body).hexdigest(), 1_700_000_000_500)

"""A real ledger with calls whose activity events wait to be delivered."""

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import uuid_utils

from outdial.adapters.database import DialingRules, Ledger, Limits
from outdial.core.submission import Placed
from outdial.ports.dialing import Answer, Claim
from outdial.ports.inbox import Incoming
from outdial.ports.intake import NewCall

TYPES = ["voice_call.initiated", "voice_call.started", "voice_call.completed"]
_RULES = DialingRules(Limits(rate=100_000, lines=100_000), lease_ms=60_000, submit_ms=3_000_000)


@asynccontextmanager
async def open_ledger(url: str) -> AsyncIterator[Ledger]:
    """An upgraded ledger."""
    ledger = Ledger.open(url, _RULES)
    await ledger.upgrade()
    try:
        yield ledger
    finally:
        await ledger.close()


async def accept(ledger: Ledger, count: int, tenant: str = "acme") -> list[str]:
    """So many calls, due and not published; their ids."""
    calls = [
        NewCall(
            id=str(uuid_utils.uuid7()),
            tenant=tenant,
            to_number="+14155550123",
            from_number="+14155550100",
            agent_id="agent_1",
        )
        for _ in range(count)
    ]
    await ledger.intake.accept(calls, publish=False)
    return [call.id for call in calls]


async def complete(ledger: Ledger, call_ids: Sequence[str]) -> None:
    """Dial them and hear of their start and their analysis: three events a call."""
    claims = [each for each in await ledger.dialing.claim(call_ids) if isinstance(each, Claim)]
    assert len(claims) == len(call_ids)
    await ledger.dialing.record(
        [
            Answer(each.call_id, each.attempt_id, each.lease_token, Placed(f"r-{each.call_id}"))
            for each in claims
        ]
    )
    for event in ("call_started", "call_analyzed"):
        await ledger.inbox.take([_webhook(event, each) for each in claims])


def _webhook(event: str, claim: Claim) -> Incoming:
    call: dict[str, Any] = {
        "call_id": f"r-{claim.call_id}",
        "call_status": "ended" if event == "call_analyzed" else "ongoing",
        "disconnection_reason": "user_hangup",
        "start_timestamp": 1_795_363_200_000,
        "duration_ms": 61_000,
        "metadata": claim.body["metadata"],
    }
    body = json.dumps({"event": event, "call": call}).encode()
    return Incoming(body, hashlib.sha256(body).hexdigest(), 1_795_363_261_000)

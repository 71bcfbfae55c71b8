"""Hints of due calls: sent at once where little lies ahead, never in the way of an answer."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from outdial.adapters.database import Ledger
from outdial.adapters.memory import MemoryQueue
from outdial.errors import Unavailable
from outdial.internal_api.hints import LEAST_AHEAD, REST_SECONDS, Hints
from outdial.ports.intake import NewCall
from outdial.ports.queue import Outgoing
from tests.flow.voice_api import RULES, TO, AwayQueue, VoiceApi, voice_api


@pytest.fixture
async def api(ledger_url: str) -> AsyncIterator[VoiceApi]:
    """The service on a ledger of the test's own, at one call a second."""
    async with voice_api(ledger_url, dial_rate=0.1) as running:
        yield running


async def test_a_due_call_is_hinted_at_once(api: VoiceApi) -> None:
    """The call queue gets its id; one that is scheduled, or repeated, gets no hint."""
    due = (await api.place({"Idempotency-Key": "a"})).json["id"]
    await api.place({"Idempotency-Key": "a"})
    await api.place(not_before="2199-01-01T00:00:00Z")
    hints = await api.queue.receive(10, wait=5, visibility=0)
    assert len(hints) == 1
    assert await api.hinted() == [due]
    assert await api.ledger.due_calls.lease_due(100) == []


async def test_the_queue_away_neither_fails_nor_loses_a_call(api: VoiceApi) -> None:
    """202 all the same; the relay finds the call as unpublished, and publishing rests."""
    api.queue.away = True
    first = await api.place()
    assert first.status == 202
    async with asyncio.timeout(5):
        await api.intake.given_back.wait()
    due = await api.ledger.due_calls.lease_due(100)
    assert [call.call_id for call in due] == [first.json["id"]]
    api.queue.away = False
    second = await api.place()
    assert [call.call_id for call in await api.ledger.due_calls.lease_due(100)] == [
        second.json["id"]
    ]


async def test_only_so_much_is_published_ahead(api: VoiceApi) -> None:
    """Beyond a few minutes of dialing the calls stay in the database, for the relay."""
    body = b"".join(b'{"to_number": "+14155550123"}\n' for _ in range(LEAST_AHEAD + 50))
    assert (await api.batch(body)).status == 200
    for _ in range(3):
        await api.place()
    assert await api.ledger.intake.published_ahead() in range(LEAST_AHEAD + 1)
    assert await api.stored() == LEAST_AHEAD + 53


async def test_nothing_is_published_while_dialing_is_stopped(api: VoiceApi) -> None:
    """With everything paused a call is accepted and no hint is sent."""
    await api.ask("POST", "/v1/pause", {})
    assert (await api.place()).status == 202
    assert await api.hinted() == []
    await api.ask("POST", "/v1/resume", {})
    assert len(await api.ledger.due_calls.lease_due(10)) == 1


async def test_hints_are_flushed_when_the_service_stops(ledger_url: str) -> None:
    """What was accepted last is hinted before the service has ended."""
    async with voice_api(ledger_url) as api:
        placed = await asyncio.gather(*(api.place() for _ in range(20)))
    assert sorted(await api.hinted()) == sorted(answer.json["id"] for answer in placed)


class _StuckQueue(MemoryQueue):
    """A queue whose `send` does not return."""

    async def send(self, messages: Sequence[Outgoing]) -> None:
        await asyncio.Event().wait()


async def test_a_stuck_queue_does_not_hold_up_the_end(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be sent in time is given back to the relay."""
    monkeypatch.setattr("outdial.internal_api.hints.FLUSH_SECONDS", 0.05)
    ledger = Ledger.open(ledger_url, RULES)
    call = NewCall(id="0197bb9e-0000-7000-8000-000000000001", tenant="acme", to_number=TO)
    hints = Hints(ledger.intake, _StuckQueue("calls"), dial_rate=1)
    assert await hints.room_for(1)
    await ledger.intake.accept([call], publish=True)
    hints.offer([call])
    await hints.close()
    assert [due.call_id for due in await ledger.due_calls.lease_due(10)] == [call.id]
    await ledger.close()


class _NoLedger:
    """A ledger that is away for every hint given back."""

    def __init__(self) -> None:
        self.asked = 0

    async def published_ahead(self) -> int | None:
        return 0

    async def unpublish(self, call_ids: Sequence[str]) -> None:
        self.asked += 1
        raise Unavailable("database", "gone")


async def test_publishing_rests_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queue and database away: it tries to give the hints back, rests, and then goes on."""
    monkeypatch.setattr("outdial.internal_api.hints._GIVE_BACK_TRIES", 1)
    now = 0.0
    queue, ledger = AwayQueue("calls"), _NoLedger()
    queue.away = True
    hints = Hints(ledger, queue, dial_rate=1, clock=lambda: now)  # type: ignore[arg-type]
    assert await hints.room_for(1)
    hints.offer([NewCall(id="a", tenant="acme", to_number=TO)])
    await hints.close()
    assert ledger.asked == 1
    assert not await hints.room_for(1)
    now += REST_SECONDS
    assert await hints.room_for(1)

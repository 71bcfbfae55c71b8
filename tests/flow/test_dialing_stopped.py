"""Where a person sees that dialing has stopped: the Voice API, the pages, health, metrics."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from outdial.call_processor.watch import Watch, dialing
from outdial.core.circuit import CircuitState, Trouble
from outdial.core.submission import Placed, Suspended, Unanswered
from outdial.errors import Unavailable
from outdial.ports.dialing import DialingStatus
from outdial.ports.keys import Scope
from tests.flow.voice_api import FROM, VoiceApi, voice_api
from tests.flow.web_api_service import running
from tests.ledger_world import World, open_world, retell_id

FINE = DialingStatus(
    at=1_700_000_100_000,
    circuit=CircuitState.CLOSED,
    trouble=None,
    reason=None,
    since=None,
    probe_at=None,
    paused=False,
    unknown=0,
    unknown_since=None,
    alarms={},
)
STOPPED = replace(
    FINE,
    circuit=CircuitState.OPEN,
    trouble=Trouble.PAYMENT,
    reason="402 <b>no</b> balance",
    since=1_700_000_000_000,
    probe_at=1_700_000_105_000,
)


@pytest.fixture
async def api(ledger_url: str) -> AsyncIterator[VoiceApi]:
    """The Voice API on a ledger of the test's own."""
    async with voice_api(ledger_url) as running:
        yield running


async def test_the_voice_api_says_so(api: VoiceApi) -> None:
    """Why, since when, and when it is tried next; for whoever may read calls."""
    told = (await api.ask("GET", "/v1/dialing")).json
    assert told["dialing"] is True
    assert told["circuit"]["state"] == "closed"
    assert told["unknown_submissions"] == {"count": 0, "oldest_since": None}
    world = World(api.ledger)
    api.ledger.clock.ahead += 1_000
    doubtful, other = [await world.accept(from_number=FROM) for _ in range(2)]
    await world.answer(await world.claim(doubtful), Unanswered("reset"))
    await world.answer(await world.claim(other), Suspended(402, "no balance"))
    told = (await api.ask("GET", "/v1/dialing")).json
    assert told["dialing"] is False
    assert told["circuit"]["state"] == "open"
    assert told["circuit"]["trouble"] == "payment"
    assert told["circuit"]["reason"] == "402 no balance"
    assert told["circuit"]["since"] < told["circuit"]["next_probe_at"]
    assert told["unknown_submissions"]["count"] == 1
    assert told["unknown_submissions"]["oldest_since"] is not None
    headers = {"Authorization": f"Bearer {await api.key(Scope.CALLS_WRITE)}"}
    answer = await api.ask("GET", "/v1/dialing", headers=headers)
    assert answer.status == 403


async def test_a_doubt_is_shown_with_its_call(api: VoiceApi) -> None:
    """What is not known, since when, and when Retell is asked again."""
    world = World(api.ledger)
    api.ledger.clock.ahead += 1_000
    call_id = await world.accept(from_number=FROM)
    await world.answer(await world.claim(call_id), Unanswered("reset"))
    told = (await api.ask("GET", f"/v1/calls/{call_id}")).json
    [attempt] = told["attempts"]
    assert attempt["status"] == "unknown"
    assert attempt["unknown_since"] < attempt["next_look_up_at"]
    assert attempt["message"] == "reset"
    assert told["timeline"][-1] == {
        "at": attempt["unknown_since"],
        "kind": "submission_unknown",
        "attempt": 1,
        "reason": "reset",
    }


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (STOPPED, r"Dialing has stopped: Retell asks to be paid \(402 &lt;b&gt;no&lt;/b&gt;"),
        (replace(STOPPED, circuit=CircuitState.HALF_OPEN), "One call is being tried now"),
        (replace(FINE, paused=True), "Dialing is paused"),
    ],
)
async def test_the_pages_say_so(outdial_home: Path, status: DialingStatus, words: str) -> None:
    """Above the figures, which are there all the same."""

    async def found() -> DialingStatus:
        return status

    async with running(outdial_home, calls=5, status=found) as service:
        await service.client.post(f"{service.url}/login", data={"key": service.key, "next": "/"})
        page = (await service.client.get(f"{service.url}/?period=all")).text
    assert re.search(words, page)
    assert 'data-live="tiles"' in page


async def test_the_pages_need_no_ledger(outdial_home: Path) -> None:
    """Where it does not answer, they show what the warehouse knows."""

    async def away() -> DialingStatus:
        raise Unavailable("database", "away")

    async with running(outdial_home, calls=5, status=away) as service:
        await service.client.post(f"{service.url}/login", data={"key": service.key, "next": "/"})
        page = await service.client.get(f"{service.url}/live?period=all")
    assert page.status_code == 200
    assert "Dialing" not in page.text


def test_health_says_so() -> None:
    """Not ready while stopped; a note for what a person should know though all goes on."""
    assert dialing(FINE) is None
    with pytest.raises(Unavailable, match=r"stopped since 2023.*402.*open"):
        dialing(STOPPED)
    with pytest.raises(Unavailable, match="one call is being tried"):
        dialing(replace(STOPPED, circuit=CircuitState.HALF_OPEN))
    noted = replace(FINE, unknown=3, unknown_since=1_700_000_000_000, alarms={"duplicate_dial": 1})
    note = dialing(noted) or ""
    assert "3 submissions of unknown fate, the oldest since 2023" in note
    assert "1 x alarm duplicate_dial" in note


async def test_metrics_say_so(database_url: str) -> None:
    """Why it stopped, how much is doubtful and for how long; and when it is over."""

    def value(name: str, **labels: str) -> float | None:
        return REGISTRY.get_sample_value(f"outdial_{name}", labels)

    async with open_world(database_url) as world:
        watch = Watch(world.ledger.dialing)
        doubtful, other = await world.accept(), await world.accept()
        await world.answer(await world.claim(doubtful), Unanswered("reset"))
        await world.answer(await world.claim(other), Suspended(401, "no such key"))
        world.ledger.clock.ahead += 20_000
        await watch.look()
        assert value("dialing_stopped", cause="key") == 1
        assert value("attempts_unknown") == 1
        assert value("attempts_unknown_oldest_seconds") == pytest.approx(20, abs=5)
        await world.ledger.dialing.reached()
        await watch.look()
        assert value("dialing_stopped", cause="key") == 1
        for call_id in (other, doubtful):
            claim = await world.claim(call_id)
            await world.answer(claim, Placed(retell_id(claim)))
        await watch.look()
        assert value("dialing_stopped", cause="key") == 0
        assert value("attempts_unknown") == 0

"""Submissions that nobody ever answers, and a platform that refuses them all: seen from outside."""

import time
from typing import Any

import httpx
import pytest

from systemtest.accounts import assert_accounted_for, wait_until_ended, wait_until_told
from systemtest.installation import SPEED, Installation
from systemtest.services import keys
from systemtest.waiting import wait_until

pytestmark = pytest.mark.long

#: Seconds that a key is honoured: a submission may be repeated for ten, then looked up twice.
WINDOW = 12


def _readiness(installation: Installation) -> dict[str, Any]:
    told: dict[str, Any] = httpx.get(f"{installation.api.url}/readyz", trust_env=False).json()
    return told


def test_a_submission_that_never_came(installation: Installation) -> None:
    """Shown as unknown, looked up and given up after the window, told once, never dialed."""
    installation.environment["OUTDIAL_IDEMPOTENCY_WINDOW"] = str(WINDOW)
    installation.environment["OUTDIAL_ATTEMPT_LEASE"] = "3"
    up = installation.up()
    installation.simulator.set_faults({"lost_request": 1})
    began = time.monotonic()
    ids = installation.api.place(keys(4))

    def doubts() -> list[dict[str, Any]]:
        found = [installation.api.call(call_id)["attempts"] for call_id in ids]
        return [some[0] for some in found if some and some[0]["unknown_since"]]

    wait_until("all are shown as unknown", lambda: len(doubts()) == len(ids))
    assert all(attempt["message"] for attempt in doubts())
    # Whoever looks after them may die in the middle.
    up.kill()
    installation.up()
    wait_until_ended(installation.api, ids)
    assert time.monotonic() - began > WINDOW * 5 / 6
    for call_id in ids:
        call = installation.api.call(call_id)
        assert (call["status"], call["reason"]) == ("failed", "submission_lost")
        [attempt] = call["attempts"]
        assert attempt["status"] == "lost"
        kinds = [entry["kind"] for entry in call["timeline"]]
        assert kinds == ["accepted", "submission_unknown", "not_found", "voice_call.not_placed"]
    wait_until("it is told", lambda: len(installation.receiver.by_call()) == len(ids))
    for events in installation.receiver.by_call().values():
        assert [event.type for event in events] == ["voice_call.not_placed"]
        assert events[0].data["reason"] == "submission_lost"
    assert installation.simulator.dials() == []
    # And what comes afterwards is dialed.
    installation.simulator.set_faults({"lost_request": 0})
    [later] = installation.api.place(keys(1, "later"))
    wait_until_ended(installation.api, [later])
    assert [dial["metadata"]["outdial_call_id"] for dial in installation.simulator.dials()] == [
        later
    ]


def test_an_unpaid_bill(installation: Installation) -> None:
    """Dialing stops and says so; one call at a time tries; once paid, all goes on by itself."""
    installation.up()
    installation.simulator.set_faults({"create_status": 402})
    ids = installation.api.place(keys(20))
    told = wait_until(
        "health says so",
        lambda: next(
            (text for text in _readiness(installation)["checks"].values() if "402" in text), None
        ),
    )
    assert "dialing stopped since" in told
    # Long enough for two probes and their back-off.
    tried = wait_until("it is tried again", lambda: _tried(installation, ids) > 1, seconds=60)
    assert tried
    assert set(installation.api.statuses().values()) <= {"queued", "dialing"}
    installation.simulator.set_faults({"create_status": 0})
    wait_until_ended(installation.api, ids)
    wait_until_told(installation.receiver, ids)
    assert_accounted_for(installation.api, installation.simulator, installation.receiver, ids)
    deferred = sum(
        attempt["status"] == "deferred"
        for call_id in ids
        for attempt in installation.api.call(call_id)["attempts"]
    )
    # Those that were under way when it stopped, and a probe now and then: no bucketful each time.
    assert deferred <= len(ids) + 6
    wait_until("health is well", lambda: _readiness(installation)["ready"])


@pytest.mark.parametrize("mode", ["reject", "accept_then_end"])
def test_over_the_platforms_limit(installation: Installation, mode: str) -> None:
    """Whichever way it says so, a call over the limit waits, and is dialed anew until it rang."""
    fast = installation.environment["OUTDIAL_DIAL_RATE"]
    # It allows half as much again as it is told.
    installation.environment["OUTDIAL_DIAL_RATE"] = "2"
    installation.environment["OUTDIAL_RETELL_API_KEY"] = "key_system_test"
    serve = ("serve", "simulator", "--speed", SPEED)
    simulator = installation.start(*serve, "--port", "0")
    url = simulator.ready["simulator"]
    simulator.kill()
    installation.environment["OUTDIAL_RETELL_BASE_URL"] = url
    installation.environment["OUTDIAL_DIAL_RATE"] = fast
    up = installation.up()
    installation.simulator.url = url
    installation.environment["OUTDIAL_DIAL_RATE"] = "2"
    entry = installation.entry(up.ready["urls"]["webhook"] + "/webhooks/retell")
    installation.start(*serve, "--port", url.rpartition(":")[2], "--webhook-url", entry)
    installation.simulator.set_faults({"limit_mode": mode})
    ids = installation.api.place(keys(15))
    wait_until_ended(installation.api, ids)
    wait_until_told(installation.receiver, ids)
    assert_accounted_for(installation.api, installation.simulator, installation.receiver, ids)
    tries = [len(installation.api.call(call_id)["attempts"]) for call_id in ids]
    assert max(tries) > 1
    unrung = [dial for dial in installation.simulator.dials() if not dial["rang"]]
    assert bool(unrung) == (mode == "accept_then_end")
    assert _readiness(installation)["ready"]


def _tried(installation: Installation, ids: list[str]) -> int:
    return max(len(installation.api.call(call_id)["attempts"]) for call_id in ids)

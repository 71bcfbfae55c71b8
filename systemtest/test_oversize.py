"""Events of megabytes, and what becomes of one whose parked body is gone, through real stages."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from systemtest.installation import Installation
from systemtest.parked import Parked
from systemtest.program import Program
from systemtest.services import ENDS
from systemtest.waiting import wait_until

pytestmark = pytest.mark.long

#: Told text of a call of two hours and more; its event, with every word's times, is 18 times that,
#: and even compressed too large for the queue.
TRANSCRIPT_BYTES = 480_000
#: Hours pass in a second.
SPEED = "20000"
#: What waits for the webhook processor meanwhile.
BEFORE = ("internal-api", "call-processor", "relay", "web-api")


def test_an_event_of_megabytes_goes_through_whole(tmp_path: Path) -> None:
    """It is parked, processed, removed; and redriven when its parked body was gone for a while."""
    with Installation(tmp_path) as installation:
        web_api = _start(installation)
        parked = installation.parked()
        [call_id] = installation.api.place(
            ["long-call"],
            metadata={"sim_transcript_bytes": TRANSCRIPT_BYTES, "sim_outcome": "answered"},
        )
        # `call_ended` and `call_analyzed` both hold the whole transcript.
        names = wait_until(
            "both events are parked",
            lambda: _pair(parked),
            seconds=120,
            progress=installation.simulator.stats,
        )
        kept = {name: parked.take(name) for name in names}
        assert all(len(data) > 4_000_000 for data in kept.values())
        installation.start("serve", "webhook-processor", "--port", "0")
        letters = wait_until("both are dead letters", lambda: _dead(installation, 2))
        for letter in letters:
            assert "is gone" in letter["reason"]
            assert letter["stage"] == "webhook-processor"
            assert letter["received"] == 1
            assert json.loads(letter["body"])["encoding"] == "parked"
            shown = json.loads(installation.run("dlq", "show", "events", letter["id"], "--json"))
            assert shown == letter
        # The audit sees a call that waits for its news; nothing else is wrong.
        assert json.loads(installation.run("audit", "--json"))["waiting"] == {"news": 1}
        assert installation.api.call(call_id)["status"] not in ENDS
        _redriven_twice(installation, kept, parked)
        wait_until("it has ended", lambda: installation.api.call(call_id)["status"] in ENDS)
        wait_until("nothing is parked any more", lambda: not parked.names())
        _whole(installation, web_api, call_id)
        assert json.loads(installation.run("audit", "--json"))["ok"]


def _start(installation: Installation) -> str:
    """Everything but the webhook processor; the web API's address."""
    installation.environment["OUTDIAL_RETELL_API_KEY"] = "key_system_test"
    installation.run("db", "upgrade")
    own = installation.start("serve", "webhook", "--port", "0").ready["url"]
    simulator = installation.start(
        *("serve", "simulator", "--port", "0", "--speed", SPEED),
        *("--webhook-url", installation.entry(f"{own}/webhooks/retell")),
    ).ready["simulator"]
    installation.environment["OUTDIAL_RETELL_BASE_URL"] = simulator
    running: dict[str, Program] = {
        stage: installation.start("serve", stage, "--port", "0") for stage in BEFORE
    }
    installation.reach(running["internal-api"].ready["url"], simulator)
    url: str = running["web-api"].ready["url"]
    key = json.loads(
        installation.run(
            *("keys", "create", "--tenant", "engage"),
            *("--scope", "admin", "--scope", "analytics:read", "--json"),
        )
    )
    installation.environment["OUTDIAL_API_KEY"] = key["key"]
    return url


def _pair(parked: Parked) -> list[str]:
    names = parked.names()
    return names if len(names) == 2 else []


def _dead(installation: Installation, count: int) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(installation.run("dlq", "list", "events", "--json"))[
        "items"
    ]
    return items if len(items) == count else []


def _redriven_twice(installation: Installation, kept: dict[str, bytes], parked: Parked) -> None:
    """Unmended they come back; mended they are processed; then there is nothing to send."""

    def redriven() -> int:
        told = json.loads(installation.run("dlq", "redrive", "events", "--json"))
        return int(told["redriven"])

    assert redriven() == 2
    wait_until("they are dead letters again", lambda: _dead(installation, 2))
    for name, data in kept.items():
        parked.put(name, data)
    assert redriven() == 2
    assert redriven() == 0


def _whole(installation: Installation, web_api: str, call_id: str) -> None:
    """The transcript in the warehouse is the platform's, and every event came once."""
    headers = {"authorization": f"Bearer {installation.environment['OUTDIAL_API_KEY']}"}

    def told() -> list[str]:
        answer = httpx.get(
            f"{web_api}/v1/analytics/calls/{call_id}", headers=headers, trust_env=False
        )
        attempts = answer.json()["attempts"] if answer.status_code == 200 else []
        return [turn["text"] for attempt in attempts for turn in attempt["transcript"]]

    turns = wait_until("the warehouse has it", told)
    platform = installation.simulator.call(
        installation.api.call(call_id)["attempts"][0]["retell_call_id"], "key_system_test"
    )
    said = [line.partition(": ")[2] for line in platform["transcript"].strip().split("\n")]
    assert turns == said
    assert len(platform["transcript"].encode()) >= TRANSCRIPT_BYTES
    types = [event.type.removeprefix("voice_call.") for event in installation.receiver.events]
    assert types == ["initiated", "started", "completed"]

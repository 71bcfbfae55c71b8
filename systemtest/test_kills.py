"""`outdial up`, killed again and again in the middle of its work."""

import random
import secrets
import threading
import time

import pytest

from systemtest.accounts import (
    assert_accounted_for,
    wait_until_dialed,
    wait_until_ended,
    wait_until_told,
)
from systemtest.installation import SPEED, Installation
from systemtest.services import keys
from systemtest.waiting import wait_until

pytestmark = pytest.mark.long

CALLS = 200
LIVES = 5
FAULTS = {
    "lost_response": 0.05,
    "error_after_commit": 0.05,
    "duplicate": 0.2,
    "reorder": 0.2,
    "webhook_first": 0.1,
}


def test_killed_five_times_among_faults(installation: Installation) -> None:
    """Every call ends once and none is dialed twice, whatever was under way."""
    seed = secrets.randbelow(1_000_000)
    print(f"seed {seed}", flush=True)
    chance = random.Random(seed)  # noqa: S311 - when to kill, and printed to be repeated
    installation.environment["OUTDIAL_DIAL_RATE"] = "25"
    up = installation.up()
    installation.simulator.set_faults(FAULTS)
    placing = _Placing(installation)
    placing.start()
    for life in range(1, LIVES + 1):
        # In the middle of things: after some more dials, at any moment of what follows them.
        dialed = len(installation.simulator.dials()) + chance.randint(2, CALLS // LIVES - 10)
        wait_until_dialed(installation.simulator, dialed)
        time.sleep(chance.uniform(0, 0.3))
        up.kill()
        told = len(installation.receiver.events)
        print(f"life {life}: {len(placing.ids)} placed, {told} events told", flush=True)
        up = installation.up()
        installation.simulator.set_faults(FAULTS)
    wait_until("all are placed", lambda: not placing.is_alive())
    wait_until_ended(installation.api, placing.ids)
    wait_until_told(installation.receiver, placing.ids)
    assert_accounted_for(
        installation.api, installation.simulator, installation.receiver, placing.ids
    )


class _Placing(threading.Thread):
    """Places calls a few at a time, and the same ones again where the program went away."""

    def __init__(self, installation: Installation) -> None:
        super().__init__(daemon=True)
        self._installation = installation
        self.ids: list[str] = []

    def run(self) -> None:
        """Until all are accepted."""
        for start in range(0, CALLS, 10):
            self.ids += self._installation.api.place_patiently(keys(10, start=start))
            time.sleep(0.3)


def test_the_platform_is_away(installation: Installation) -> None:
    """With the platform down, at first and in the middle, calls wait; each is dialed once."""
    installation.environment["OUTDIAL_RETELL_API_KEY"] = "key_system_test"
    installation.environment["OUTDIAL_DIAL_RATE"] = "20"
    serve = ("serve", "simulator", "--speed", SPEED)
    simulator = installation.start(*serve, "--port", "0")
    url = simulator.ready["simulator"]
    simulator.kill()
    installation.environment["OUTDIAL_RETELL_BASE_URL"] = url
    up = installation.up()
    installation.simulator.url = url
    ids = installation.api.place(keys(60))
    wait_until("some are tried", lambda: "dialing" in installation.api.statuses().values())
    entry = installation.entry(up.ready["urls"]["webhook"] + "/webhooks/retell")
    again = (*serve, "--port", url.rpartition(":")[2], "--webhook-url", entry)
    simulator = installation.start(*again)
    wait_until_dialed(installation.simulator, 20)
    simulator.kill()
    installation.start(*again)
    wait_until_ended(installation.api, ids)
    wait_until_told(installation.receiver, ids)
    assert_accounted_for(installation.api, installation.simulator, installation.receiver, ids)

"""`outdial up` from outside: everything in one process, left in peace and interrupted."""

import time

from systemtest.accounts import (
    assert_accounted_for,
    wait_until_dialed,
    wait_until_ended,
    wait_until_told,
)
from systemtest.installation import Installation
from systemtest.services import keys
from systemtest.waiting import wait_until


def test_two_hundred_calls_end_to_end(installation: Installation) -> None:
    """Accepted = dialed = ended, and each is told of once and in order."""
    installation.up()
    ids = installation.api.place(keys(200))
    wait_until_ended(installation.api, ids)
    wait_until_told(installation.receiver, ids)
    assert_accounted_for(installation.api, installation.simulator, installation.receiver, ids)


def test_ctrl_c_in_the_middle(installation: Installation) -> None:
    """It stops cleanly, and the next start goes on where this one stopped."""
    # The platform gives up on a webhook after seven seconds, and a slow machine may take longer.
    installation.environment |= {"OUTDIAL_RECONCILE_AFTER": "15", "OUTDIAL_RECONCILE_RATE": "50"}
    up = installation.up()
    ids = installation.api.place(keys(100))
    wait_until_dialed(installation.simulator, 33)
    assert up.interrupt() == 0
    assert "Traceback" not in up.log
    installation.up()
    wait_until_ended(installation.api, ids)
    wait_until_told(installation.receiver, ids)
    assert_accounted_for(installation.api, installation.simulator, installation.receiver, ids)


def test_the_sink_is_down(installation: Installation) -> None:
    """Calls go on without it; when it is back everything arrives, each call's in order."""
    installation.receiver.up = False
    installation.up()
    ids = installation.api.place(keys(60))
    wait_until_ended(installation.api, ids)
    wait_until("it was tried", lambda: installation.receiver.refused >= 1)
    assert installation.receiver.events == []
    installation.receiver.up = True
    wait_until_told(installation.receiver, ids)
    assert_accounted_for(installation.api, installation.simulator, installation.receiver, ids)


def test_pause_and_resume(installation: Installation) -> None:
    """While paused nothing is dialed and nothing lost; afterwards the rest goes out."""
    installation.environment["OUTDIAL_DIAL_RATE"] = "20"
    installation.up()
    ids = installation.api.place(keys(80))
    wait_until_dialed(installation.simulator, 10)
    installation.api.pause()
    dialed = wait_until("claims made before are dialed", lambda: _steady(installation))
    assert dialed < 80
    late = installation.api.place(keys(5, "late"))
    assert _steady(installation) == dialed
    installation.api.resume()
    wait_until_ended(installation.api, ids + late)
    wait_until_told(installation.receiver, ids + late)
    assert_accounted_for(
        installation.api, installation.simulator, installation.receiver, ids + late
    )


def _steady(installation: Installation) -> int | None:
    """How many dials there are, where a second brings no more: at 20 a second it would."""
    before = len(installation.simulator.dials())
    time.sleep(1)
    return before if len(installation.simulator.dials()) == before else None

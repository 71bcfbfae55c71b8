"""Webhooks that never come, calls that Retell forgets: asked for, and ended once all the same."""

import json

import pytest

from systemtest.accounts import (
    assert_accounted_for,
    wait_until_dialed,
    wait_until_ended,
    wait_until_told,
)
from systemtest.installation import Installation
from systemtest.services import keys
from systemtest.waiting import wait_until

#: So impatient that a test can wait for it, and as fast as this machine answers.
IMPATIENT = {
    "OUTDIAL_RECONCILE_AFTER": "1",
    "OUTDIAL_ANALYSIS_AFTER": "2",
    "OUTDIAL_RECONCILE_RATE": "200",
}


def test_no_webhook_ever_comes(installation: Installation) -> None:
    """Every call still ends with exactly one end, told once and in order."""
    installation.environment |= IMPATIENT
    installation.up()
    installation.simulator.set_faults({"drop": 1.0})
    ids = installation.api.place(keys(40))
    wait_until_ended(installation.api, ids)
    wait_until_told(installation.receiver, ids)
    assert_accounted_for(installation.api, installation.simulator, installation.receiver, ids)
    report = json.loads(installation.run("reconcile", "--json"))
    found = {one["kind"]: one["found"] for one in report["differed"]}
    # Some were asked about between their end and their analysis.
    assert found["analysis_missed"] == 40
    assert report["left"]["unmended"] == report["left"]["silent"] == 0


@pytest.mark.long
def test_no_analysis_ever_comes(installation: Installation) -> None:
    """With post-call analysis off, calls end with what is known of them."""
    installation.environment |= IMPATIENT
    installation.up()
    ids = installation.api.place(keys(10), metadata={"sim_analysis": False})
    wait_until_ended(installation.api, ids)
    wait_until_told(installation.receiver, ids)
    assert_accounted_for(installation.api, installation.simulator, installation.receiver, ids)
    shown = [installation.api.call(one) for one in ids]
    assert all(one["attempts"][0]["duration_ms"] is not None for one in shown)


@pytest.mark.long
def test_a_call_that_retell_forgets(installation: Installation) -> None:
    """It is closed as lost; the others are not touched."""
    installation.environment |= IMPATIENT
    installation.up()
    installation.simulator.set_faults({"drop": 1.0})
    first = installation.api.place(keys(1, "first"))
    wait_until_ended(installation.api, first)
    [gone] = installation.api.place(keys(1, "gone"), metadata={"sim_talk_ms": 86_000_000})
    wait_until_dialed(installation.simulator, 2)
    wait_until("it is under way", lambda: installation.api.statuses()[gone] == "in_progress")
    installation.simulator.forget(installation.api.call(gone)["attempts"][0]["retell_call_id"])
    wait_until_ended(installation.api, [gone])
    wait_until_told(installation.receiver, [gone])
    call = installation.api.call(gone)
    assert (call["attempts"][0]["status"], call["reason"]) == ("lost", "not_found")
    report = json.loads(installation.run("reconcile", "--once", "--json"))
    assert report["left"]["provisional"] == 1
    assert {"kind": "not_found", "found": 1, "mended": 1} in report["differed"]

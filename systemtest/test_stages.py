"""Each stage in a process of its own, on both databases, and each of them killed."""

import random
import secrets
from pathlib import Path

import pytest

from systemtest.accounts import (
    assert_accounted_for,
    wait_until_dialed,
    wait_until_ended,
    wait_until_told,
)
from systemtest.installation import SPEED, Installation
from systemtest.program import Program
from systemtest.services import keys
from systemtest.stacks import chosen_stack

pytestmark = pytest.mark.long

CALLS = 60
#: Each is killed once and starts again on its port, where others ask it.
STAGES = ("internal-api", "webhook", "call-processor", "webhook-processor", "relay")


class Stages:
    """The stages of one installation, by name."""

    def __init__(self, installation: Installation) -> None:
        """Starts them all; the simulator stands for Retell."""
        self._installation = installation
        self._running: dict[str, Program] = {}
        installation.environment["OUTDIAL_RETELL_API_KEY"] = "key_system_test"
        installation.run("db", "upgrade")
        entry = installation.entry(self._start("webhook") + "/webhooks/retell")
        simulator = installation.start(
            *("serve", "simulator", "--port", "0", "--speed", SPEED, "--webhook-url", entry)
        )
        url = simulator.ready["simulator"]
        installation.environment["OUTDIAL_RETELL_BASE_URL"] = url
        for stage in STAGES:
            if stage not in self._running:
                self._start(stage)
        installation.reach(self._running["internal-api"].ready["url"], url)

    def replace(self, stage: str) -> None:
        """Kill it; another one takes its place."""
        program = self._running[stage]
        program.kill()
        self._start(stage, port=program.ready["url"].rpartition(":")[2])

    def _start(self, stage: str, *, port: str = "0") -> str:
        program = self._installation.start("serve", stage, "--port", port)
        self._running[stage] = program
        url: str = program.ready["url"]
        return url


@pytest.mark.parametrize(
    # Other stacks have a database of their own.
    "database",
    ["sqlite", "postgresql"] if chosen_stack().name == "embedded" else ["postgresql"],
)
def test_every_stage_is_killed_once(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Whichever goes, the others and its successor account for every call."""
    stack = chosen_stack()
    settings = {"dial_rate": "6"}
    if database == "postgresql" and stack.name == "embedded":
        settings["database_url"] = request.getfixturevalue("postgres_url")
    seed = secrets.randbelow(1_000_000)
    print(f"seed {seed}", flush=True)
    chance = random.Random(seed)  # noqa: S311 - whom to kill first, and printed to be repeated
    with Installation(tmp_path, stack=stack, **settings) as installation:
        stages = Stages(installation)
        ids = installation.api.place(keys(CALLS))
        for stage in chance.sample(STAGES, len(STAGES)):
            before = len(installation.simulator.dials())
            wait_until_dialed(installation.simulator, min(before + chance.randint(1, 6), CALLS))
            stages.replace(stage)
        wait_until_ended(installation.api, ids)
        wait_until_told(installation.receiver, ids)
        assert_accounted_for(installation.api, installation.simulator, installation.receiver, ids)

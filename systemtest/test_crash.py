"""The crash test as CI runs it: bounded, and otherwise what `make crashtest` runs at any size."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from systemtest.crash_run import CrashRun, Plan
from systemtest.crash_stacks import STACKS, parts_of
from systemtest.crashtest import table

pytestmark = pytest.mark.long

#: Calls and kills. Most of a run's cost is starting what was killed, and the emulator's Lambda
#: takes a few webhooks a second.
SIZES = {"sqlite": (1000, 30), "postgresql": (500, 15), "aws": (200, 8)}


@pytest.mark.parametrize("name", STACKS)
def test_killed_at_random_among_all_faults(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Nothing is lost, dialed twice or told twice, whichever process dies, whatever goes wrong."""
    seed = int(os.environ.get("CRASH_SEED") or secrets.randbelow(1_000_000))
    calls, kills = SIZES[name]
    again = f"make crashtest STACK={name} CALLS={calls} KILLS={kills} SEED={seed}"
    print(again, flush=True)
    with parts_of(name) as parts:
        outcome = CrashRun(Plan(calls, kills, seed), parts, tmp_path).run()
    record_property("figures", f"{again}\n{table([outcome])}")
    assert not outcome.violations, outcome.violations[:10]
    assert outcome.kills.total() == kills

"""The crash test as CI runs it: bounded, and otherwise what `make crashtest` runs at any size."""

import os
import secrets
from pathlib import Path

import pytest

from systemtest.crash_run import CrashRun, Plan
from systemtest.crash_stacks import STACKS, stack_of
from systemtest.crashtest import table

pytestmark = pytest.mark.long

CALLS = 1000
KILLS = 30


@pytest.mark.parametrize("name", STACKS)
def test_killed_at_random_among_all_faults(name: str, tmp_path: Path) -> None:
    """Nothing is lost, dialed twice or told twice, whichever process dies, whatever goes wrong."""
    seed = int(os.environ.get("CRASH_SEED") or secrets.randbelow(1_000_000))
    print(f"seed {seed}: make crashtest STACK={name} CALLS={CALLS} KILLS={KILLS} SEED={seed}")
    with stack_of(name) as stack:
        outcome = CrashRun(Plan(CALLS, KILLS, seed), stack, tmp_path).run()
    print(table([outcome]))
    assert not outcome.violations, outcome.violations[:10]
    assert outcome.kills.total() == KILLS

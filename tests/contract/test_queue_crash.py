"""A process killed at any moment loses nothing that was acknowledged."""

import itertools
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from outdial.adapters.sqlite_queue import QueueFile, SQLiteQueue
from tests.contract.queues import ManualClock

WORKER = Path(__file__).with_name("crashing_worker.py")


def run_and_kill(path: Path, prefix: str, lines: int) -> dict[str, set[str]]:
    """Let a worker go on for that many steps, SIGKILL it; the bodies of each kind of step."""
    told: dict[str, set[str]] = defaultdict(set)
    with subprocess.Popen(
        [sys.executable, str(WORKER), str(path), prefix], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        for line in itertools.islice(worker.stdout, lines):
            step, *bodies = line.split()
            told[step].update(bodies)
        worker.kill()
        for line in worker.stdout:
            step, *bodies = line.split()
            told[step].update(bodies)
    return told


async def test_loses_nothing_to_a_kill(tmp_path: Path) -> None:
    """What was sent is there unless its delete had begun; what was deleted stays deleted."""
    path = tmp_path / "queue.db"
    told: dict[str, set[str]] = defaultdict(set)
    for round_, lines in enumerate((40, 150, 400)):
        for step, bodies in run_and_kill(path, str(round_), lines).items():
            told[step] |= bodies
        clock = ManualClock(now=4_000_000_000_000)
        file = QueueFile(path, clock)
        queue = SQLiteQueue(file, "calls")
        left = {each.body for each in await queue.receive(100_000, visibility=0)}
        file.close()
        assert told["sent"] - left <= told["deleting"]
        assert not left & told["deleted"]
        assert left

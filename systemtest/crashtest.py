"""`make crashtest`: a crash test of any size, with progress, and a table of what it came to."""

import argparse
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from systemtest.crash_run import CrashRun, Outcome, Plan
from systemtest.crash_stacks import STACKS, parts_of

_SHOWN = 20


def main() -> int:
    """1 where a promise was not kept."""
    read = argparse.ArgumentParser(prog="crashtest", description=__doc__)
    read.add_argument("--calls", type=int, default=1000)
    read.add_argument("--kills", type=int, default=30)
    read.add_argument("--seed", type=int, default=None, help="by default another one each time")
    read.add_argument("--stack", choices=(*STACKS, "all"), default="all")
    read.add_argument("--keep", action="store_true", help="keep logs and databases, and say where")
    asked = read.parse_args()
    seed = secrets.randbelow(1_000_000) if asked.seed is None else asked.seed
    stacks = STACKS if asked.stack == "all" else (asked.stack,)
    outcomes = [_run(Plan(asked.calls, asked.kills, seed), name, asked.keep) for name in stacks]
    print(table(outcomes))
    return int(any(outcome.violations for outcome in outcomes))


def _run(plan: Plan, name: str, keep: bool) -> Outcome:  # noqa: FBT001
    print(f"{name}: {plan.calls} calls, {plan.kills} kills, seed {plan.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="outdial-crash-"))
    try:
        with parts_of(name) as parts:
            outcome = CrashRun(plan, parts, folder, lambda line: print(line, flush=True)).run()
    finally:
        if keep:
            print(f"  kept in {folder}")
        else:
            shutil.rmtree(folder)
    for violation in outcome.violations[:_SHOWN]:
        print(f"  VIOLATION {violation}", flush=True)
    return outcome


def table(outcomes: list[Outcome]) -> str:
    """A column a stack."""
    rows: list[tuple[str, list[object]]] = [("", [outcome.stack for outcome in outcomes])]
    rows += [
        ("seed", [each.plan.seed for each in outcomes]),
        ("calls accepted", [each.accepted for each in outcomes]),
        ("processes killed", [each.kills.total() for each in outcomes]),
    ]
    stages = sorted({stage for each in outcomes for stage in each.kills})
    rows += [(f"  {stage}", [each.kills[stage] for each in outcomes]) for stage in stages]
    rows += [("dials", [each.dials for each in outcomes])]
    faults = {
        "answers lost": ("creates", ("reset", "hang", "500")),
        "429s": ("creates", ("429",)),
        "webhooks sent": ("webhooks", ("sent",)),
        "webhooks refused or failed": ("webhooks", ("failed",)),
        "webhooks dropped": ("webhooks", ("dropped",)),
        "webhooks lost for good": ("webhooks", ("lost",)),
    }
    for name, (group, counts) in faults.items():
        rows.append(
            (
                f"  {name}",
                [sum(each.simulator[group].get(c, 0) for c in counts) for each in outcomes],
            )
        )
    rows += [
        ("activity events", [each.events for each in outcomes]),
        ("  delivered again", [each.repeated for each in outcomes]),
        ("lost", [len(each.lost) for each in outcomes]),
        ("dialed twice", [len(each.twice) for each in outcomes]),
        ("violations", [len(each.violations) for each in outcomes]),
        ("seconds", [f"{each.seconds:.0f}" for each in outcomes]),
    ]
    wide = max(len(name) for name, _ in rows)
    return "\n".join(
        name.ljust(wide) + "".join(str(cell).rjust(13) for cell in cells) for name, cells in rows
    )


if __name__ == "__main__":
    sys.exit(main())

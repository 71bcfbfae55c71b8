"""`outdial db`: the operational database."""

from collections import Counter
from typing import Annotated

import typer

from outdial.cli import progress, session
from outdial.cli.family import Family
from outdial.cli.output import counted, note, say, say_facts, say_json


def upgrade(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print what ran as JSON.")] = False,
) -> None:
    """Bring the operational database to the newest schema; again is no error.

    `outdial up` does it by itself. Elsewhere run it before starting a newer version.
    """
    from outdial import bootstrap, config  # noqa: PLC0415

    with progress.shown("Upgrading the database"):
        ran = session.run(bootstrap.upgrade_database(config.load()))
    if as_json:
        say_json({"migrations": ran})
    elif ran:
        say(f"{counted(len(ran), 'migration')} run: {', '.join(ran)}.")
    else:
        say("The database has the newest schema already.")


def prune(
    *,
    keep: Annotated[
        str, typer.Option("--keep", metavar="DAYS", help="Keep what ended so long ago: 90d.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would go; remove nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    r"""Remove calls that ended long ago, with all their rows, from the operational database.

    In small batches beside everything that runs. The warehouse keeps its rows. Never removed: what
    is open, not delivered, not loaded into the warehouse, provisional, or under an alarm; and
    nothing younger than 31 days, for idempotency keys are kept 30. A webhook that comes for a
    removed call is kept as foreign.

    \b
    Examples:
      outdial db prune --keep 90d --dry-run
      outdial db prune --keep 90d
    """
    days = int(keep[:-1]) if keep[:-1].isdecimal() and keep.endswith("d") else 0
    if not LEAST_DAYS <= days <= MOST_DAYS:
        limits = f"from {LEAST_DAYS}d to {MOST_DAYS}d"
        raise typer.BadParameter(f"{keep}: write days, {limits}", param_hint="--keep")
    removed, kept = session.run(_prune(days, dry_run=dry_run))
    if as_json:
        say_json({"dry_run": dry_run, "removed": dict(removed), "kept": dict(kept)})
        return
    would = "would be removed" if dry_run else "removed"
    say(f"{counted(removed['calls'], 'call')} {would}.")
    say_facts([(name.replace("_", " "), f"{n:,}") for name, n in removed.items()], indent="  ")
    if kept:
        say("Kept, older than that or not:")
        say_facts([(why, counted(n, "call")) for why, n in kept.items()], indent="  ")
    if kept["not delivered"]:
        note("Events that no sink has taken keep their calls: see OUTDIAL_ACTIVITY_SINK_URL.")


#: Idempotency keys are kept for 30 days, and name their calls.
LEAST_DAYS = 31
#: A century: more is a slip, and beyond what the database counts in.
MOST_DAYS = 36_500


async def _prune(days: int, *, dry_run: bool) -> tuple[Counter[str], Counter[str]]:
    from outdial import bootstrap, config  # noqa: PLC0415

    removed: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    async with bootstrap.open_ledger(config.load()) as ledger:
        with progress.shown("Counting" if dry_run else "Removing", 1.0) as shown:
            async for batch in ledger.history.prune(days * 86_400_000, dry_run=dry_run):
                removed.update(batch.removed)
                kept.update(batch.kept)
                shown.at(batch.done, counted(removed["calls"], "call"))
    return removed, kept


FAMILY: Family = ("The operational database.", {"upgrade": upgrade, "prune": prune})

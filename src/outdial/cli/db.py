"""`outdial db`: the operational database."""

from typing import Annotated

import typer

from outdial.cli import progress, session
from outdial.cli.family import Family
from outdial.cli.output import counted, say, say_json


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


FAMILY: Family = ("The operational database.", {"upgrade": upgrade})

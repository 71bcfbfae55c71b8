"""`outdial doctor`: is everything there that this configuration asks for?"""

from typing import Annotated

import typer

from outdial.cli import session
from outdial.cli.output import note, say, say_json, styled

_MARKS = {"ok": ("ok", "green"), "notice": ("notice", "yellow"), "fault": ("fault", "red")}


def doctor(
    *,
    warehouse: Annotated[
        bool,
        typer.Option(
            "--warehouse",
            help="Examine Snowflake instead, thoroughly: rights, settings, and whether it answers "
            "every question as DuckDB does. Wakes its warehouse for a minute.",
        ),
    ] = False,
    webhook: Annotated[
        str | None,
        typer.Option(
            "--webhook",
            metavar="URL",
            help="Ask this webhook entry whether it knows our key. By default that of `up`.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    r"""Check the configuration and reach every dependency; say what is wrong and how to mend it.

    Changes nothing and dials nobody. Exit code 1 when something is at fault.

    \b
    Examples:
      outdial doctor
      outdial doctor --warehouse
      outdial doctor --webhook https://….lambda-url.eu-central-1.on.aws/
      outdial doctor --json | jq '.checks[] | select(.state == "fault")'
    """
    if warehouse:
        from outdial.cli.warehouse_checks import run_warehouse_checks  # noqa: PLC0415

        checks = session.run(run_warehouse_checks())
    else:
        from outdial.cli.checks import run_checks  # noqa: PLC0415

        checks = session.run(run_checks(webhook))
    faults = [check for check in checks if check.state == "fault"]
    if as_json:
        items = [
            {"name": c.name, "state": c.state, "detail": c.detail, "mend": c.mend} for c in checks
        ]
        say_json({"ok": not faults, "checks": items})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            mark, colour = _MARKS[check.state]
            say(f"{styled(f'{mark:6}', colour)}  {check.name:{width}}  {check.detail}")
            if check.mend:
                say(f"{'':8}{'':{width}}  → {check.mend}")
        if not faults:
            note("All is well.")
    if faults:
        raise typer.Exit(1)

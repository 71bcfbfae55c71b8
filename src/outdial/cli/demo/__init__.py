"""`outdial demo`: the main job from end to end, on the simulator, with the proof at its end."""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = Path("examples/contacts.csv")


def demo(
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="Contacts: CSV or NDJSON.")] = str(
        EXAMPLE
    ),
    *,
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Leave the dashboard up until Ctrl-C."),
    ] = True,
    speed: Annotated[
        float, typer.Option("--speed", metavar="X", min=0.01, help="How fast simulated calls pass.")
    ] = 60.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and end.")
    ] = False,
) -> None:
    r"""See the main job, from a file of contacts to the proof that each was called once.

    Always on the simulator, whatever the environment says: no phone rings and no setting of
    yours is used. Starts everything embedded and afresh in .outdial/demo, imports the contacts
    through the Voice API, shows the calls as they go, and prints the result: funnel, outcomes,
    cost, and the proof, taken from the Voice API, from the simulator's own list of dials and from
    the analytics API. Exit code 1 when any check fails.

    Without a terminal it ends by itself; with one it leaves the dashboard up until Ctrl-C.

    \b
    Examples:
      outdial demo
      outdial demo my-contacts.csv --no-wait
    """
    from outdial.cli.demo.run import run  # noqa: PLC0415

    run(file, wait=wait and not as_json, speed=speed, as_json=as_json)

"""`outdial pause` and `outdial resume`: the stop button."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from outdial.cli import session
from outdial.cli.output import say, say_json
from outdial.core.times import to_rfc3339

if TYPE_CHECKING:
    from outdial.client import Pause

Tenant = Annotated[str | None, typer.Option("--tenant", metavar="T", help="Only this tenant.")]
Campaign = Annotated[
    str | None, typer.Option("--campaign", metavar="C", help="Only this campaign.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the pauses in force as JSON.")]


def pause(*, tenant: Tenant = None, campaign: Campaign = None, as_json: Json = False) -> None:
    r"""Stop dialing: from the next claim on nothing new is dialed, in all processes.

    Calls under way go on, calls that wait go on waiting, new calls are accepted. It holds across
    restarts, until `outdial resume`. Needs a key with the scope `admin`.

    \b
    Examples:
      outdial pause                                  everything
      outdial pause --campaign night-nurses          one campaign
    """
    session.run(_press("pause", tenant, campaign, as_json=as_json))


def resume(*, tenant: Tenant = None, campaign: Campaign = None, as_json: Json = False) -> None:
    r"""Go on dialing: lift the pause of this tenant or campaign, or every pause.

    \b
    Examples:
      outdial resume                                 lift every pause
      outdial resume --campaign night-nurses         lift that one
    """
    session.run(_press("resume", tenant, campaign, as_json=as_json))


async def _press(button: str, tenant: str | None, campaign: str | None, *, as_json: bool) -> None:
    from outdial import config  # noqa: PLC0415

    async with session.client(config.load()) as client:
        press = client.pause if button == "pause" else client.resume
        pauses = await press(tenant=tenant, campaign=campaign)
    if as_json:
        say_json({"items": [_as_json(pause) for pause in pauses]})
        return
    if not pauses:
        say("Dialing goes on: no pause is in force.")
    for pause in pauses:
        say(f"Paused since {pause.since:%Y-%m-%d %H:%M:%S} UTC: {_scope(pause)}.")


def _scope(pause: "Pause") -> str:
    parts = [
        f"tenant {pause.tenant}" if pause.tenant else None,
        f"campaign {pause.campaign}" if pause.campaign else None,
    ]
    return ", ".join(part for part in parts if part) or "everything"


def _as_json(pause: "Pause") -> dict[str, Any]:
    since = to_rfc3339(round(pause.since.timestamp() * 1000))
    return {"tenant": pause.tenant, "campaign": pause.campaign, "since": since}

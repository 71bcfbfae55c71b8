"""`outdial call`: place one call and follow it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outdial.cli import session
from outdial.cli.calls import timeline_line
from outdial.cli.output import duration, note, say, say_json, styled

if TYPE_CHECKING:
    from outdial.client import Call, CallRequest

#: Ends of a call that never reached the callee's network at all.
_NOT_PLACED = frozenset({"cancelled", "expired", "rejected"})


def call(  # noqa: PLR0913 - an option each
    number: Annotated[
        str, typer.Argument(metavar="NUMBER", help="Whom to call, E.164: +14155550123.")
    ],
    *,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="ID", help="Retell agent that speaks.")
    ] = None,
    from_number: Annotated[
        str | None, typer.Option("--from", metavar="NUMBER", help="Caller number (E.164).")
    ] = None,
    variables: Annotated[
        list[str] | None,
        typer.Option("--var", metavar="K=V", help="Dynamic variable; may be repeated."),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option("--metadata", metavar="K=V", help="Metadata; may be repeated."),
    ] = None,
    campaign: Annotated[
        str | None, typer.Option("--campaign", metavar="C", help="Label of the campaign.")
    ] = None,
    external_id: Annotated[
        str | None, typer.Option("--external-id", metavar="ID", help="Your own reference.")
    ] = None,
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="CC", help="Country of a national number: US, DE, …"),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Follow the call until it has ended.")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the call as JSON, at its end.")
    ] = False,
) -> None:
    r"""Place one call and follow it live until it has ended.

    Exit code 0 when it was placed and has ended, whatever the outcome; 1 when it could not be
    placed. Ctrl-C stops following; the call goes on.

    \b
    Examples:
      outdial call +14155550123 --var name=Ada
      outdial call "0171 1234567" --region DE --agent agent_1 --no-wait
    """
    from outdial.client import CallRequest  # noqa: PLC0415
    from outdial.contacts.errors import UnusableRowError  # noqa: PLC0415
    from outdial.contacts.number import known_region, normalise  # noqa: PLC0415

    if region is not None and not known_region(region.upper()):
        raise typer.BadParameter(f"{region} is no country code such as US or DE")
    try:
        to_number = normalise(number, region.upper() if region else None)
    except UnusableRowError as error:
        raise typer.BadParameter(str(error), param_hint="NUMBER") from None
    request = CallRequest(
        to_number,
        from_number=from_number,
        agent_id=agent,
        dynamic_variables=pairs("--var", variables),
        metadata=pairs("--metadata", metadata),
        campaign=campaign,
        external_id=external_id,
    )
    placed = session.run(_place(request, wait=wait, as_json=as_json))
    if as_json:
        say_json(placed.raw)
    elif wait:
        say(_outcome(placed))
    if placed.status in _NOT_PLACED or (placed.ended and not _dialed(placed)):
        raise typer.Exit(1)


def pairs(option: str, given: Sequence[str] | None) -> dict[str, str] | None:
    """`K=V` options as a mapping."""
    if not given:
        return None
    split = [text.partition("=") for text in given]
    for name, equals, _ in split:
        if not equals or not name.strip():
            raise typer.BadParameter("must be NAME=VALUE", param_hint=option)
    return {name.strip(): value for name, _, value in split}


async def _place(request: "CallRequest", *, wait: bool, as_json: bool) -> "Call":
    from outdial import config  # noqa: PLC0415

    async with session.client(config.load()) as client:
        placed = await client.place(request)
        if not wait:
            if not as_json:
                say(placed.id)
            return await client.get(placed.id)
        note(f"{placed.id} to {request.to_number}")
        async for entry in client.follow(placed.id):
            if not as_json:
                say(timeline_line(entry))
        return await client.get(placed.id)


def _dialed(call: "Call") -> bool:
    return any(attempt.retell_call_id for attempt in call.attempts)


def _outcome(call: "Call") -> str:
    last: Any = call.attempts[-1] if call.attempts else None
    if last is None or not last.retell_call_id:
        return styled(f"Not placed: {call.reason or call.status}.", "red")
    parts = [str(last.outcome or last.status).replace("_", " ")]
    if last.duration_ms:
        parts.append(duration(last.duration_ms / 1000))
    if last.call_successful is not None:
        parts.append("successful" if last.call_successful else "not successful")
    if last.user_sentiment:
        parts.append(f"sentiment {last.user_sentiment.lower()}")
    if last.cost_usd is not None:
        parts.append(f"${last.cost_usd:.4f}")
    text = styled(f"Ended: {', '.join(parts)}.", "green" if last.started_at else "yellow")
    return f"{text}\n{last.call_summary}" if last.call_summary else text

"""`outdial calls`: look at calls, and cancel them."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outdial.cli import session
from outdial.cli.family import Family
from outdial.cli.output import (
    counted,
    duration,
    fitted,
    note,
    room,
    say,
    say_facts,
    say_json,
    styled,
)

if TYPE_CHECKING:
    from outdial.client import Attempt, Call, TimelineEntry

#: How a status is coloured.
COLOURS = {
    "completed": "green",
    "failed": "red",
    "rejected": "red",
    "cancelled": "yellow",
    "expired": "yellow",
    "in_progress": "cyan",
    "dialing": "cyan",
}
_PAGE = 200

CallId = Annotated[str, typer.Argument(metavar="ID", help="The call's id.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def show(call_id: CallId, *, as_json: Json = False) -> None:
    r"""Show a call, its attempts and what happened when.

    \b
    Examples:
      outdial calls show 0197a0b2-…
      outdial calls show 0197a0b2-… --json | jq .attempts
    """
    call = session.run(_get(call_id))
    if as_json:
        say_json(call.raw)
    else:
        say_call(call)


def list_(  # noqa: PLR0913 - an option each
    *,
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATUS", help="Only calls with this status.")
    ] = None,
    external_id: Annotated[
        str | None,
        typer.Option("--external-id", metavar="ID", help="Only calls of this reference."),
    ] = None,
    campaign: Annotated[
        str | None, typer.Option("--campaign", metavar="C", help="Only calls of this campaign.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, metavar="N", help="At most so many.")
    ] = 50,
    everything: Annotated[bool, typer.Option("--all", help="All of them, however many.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    r"""List calls, newest first.

    \b
    Examples:
      outdial calls list --status failed
      outdial calls list --campaign night-nurses --all --json | jq .items
    """
    wanted = None if everything else limit
    session.run(_list(status, external_id, campaign, wanted, as_json=as_json))


def cancel(call_id: CallId, *, as_json: Json = False) -> None:
    r"""Cancel a call that still waits; one that is being dialed can't be called back.

    \b
    Example:
      outdial calls cancel 0197a0b2-…
    """
    call = session.run(_cancel(call_id))
    if as_json:
        say_json(call.raw)
    else:
        say(f"{call.id} is {call.status}.")


FAMILY: Family = (
    "Look at calls, and cancel them.",
    {"show": show, "list": list_, "cancel": cancel},
)


async def _get(call_id: str) -> "Call":
    from outdial import config  # noqa: PLC0415

    async with session.client(config.load()) as client:
        return await client.get(call_id)


async def _cancel(call_id: str) -> "Call":
    from outdial import config  # noqa: PLC0415

    async with session.client(config.load()) as client:
        return await client.cancel(call_id)


async def _list(
    status: str | None,
    external_id: str | None,
    campaign: str | None,
    wanted: int | None,
    *,
    as_json: bool,
) -> None:
    from outdial import config  # noqa: PLC0415

    cursor: str | None = None
    shown = 0
    items: list[dict[str, Any]] = []
    async with session.client(config.load()) as client:
        while wanted is None or shown < wanted:
            page = await client.page(
                status=status,
                external_id=external_id,
                campaign=campaign,
                cursor=cursor,
                limit=_PAGE if wanted is None else min(_PAGE, wanted - shown),
            )
            if as_json:
                items.extend(call.raw for call in page.items)
            elif page.items:
                _say_page(page.items, first=shown == 0)
            shown += len(page.items)
            cursor = page.next_cursor
            if cursor is None:
                break
    if as_json:
        say_json({"items": items, "next_cursor": cursor})
        return
    if not shown:
        note("No such call.")
    elif cursor is not None:
        note(f"{counted(shown, 'call')} shown; --all shows every one.")


def _say_page(calls: "tuple[Call, ...]", *, first: bool) -> None:
    # Fixed widths, so that the pages of a long list line up.
    line = "{:36}  {:11}  {:16}  {:16}  {:20}  {}"
    width = room()
    if first:
        head = line.format("ID", "STATUS", "TO", "CREATED (UTC)", "CAMPAIGN", "EXTERNAL ID")
        say(styled(fitted(head, width), "dim"))
    for call in calls:
        status = styled(f"{call.status:11}", *_style(call.status))
        text = line.format(
            call.id,
            "\0",
            call.to_number,
            f"{call.created_at:%Y-%m-%d %H:%M}",
            (call.campaign or "")[:20],
            call.external_id or "",
        )
        say(fitted(text.rstrip(), width).replace("\0".ljust(11), status))


def say_call(call: "Call") -> None:
    """The whole call, for a person."""
    say(f"{styled(call.id, 'bold')}  {styled(call.status, *_style(call.status))}")
    say()
    say_facts(
        [
            ("to", call.to_number),
            ("from", call.from_number),
            ("agent", " v".join(str(p) for p in (call.agent_id, call.agent_version) if p) or None),
            ("campaign", call.campaign),
            ("external id", call.external_id),
            ("time zone", call.time_zone),
            ("not before", _moment(call.not_before)),
            ("expires at", _moment(call.expires_at)),
            ("reason", call.reason),
            ("variables", _pairs(call.dynamic_variables)),
            ("metadata", _pairs(call.metadata)),
        ],
        indent="  ",
    )
    for attempt in call.attempts:
        say()
        _say_attempt(attempt)
    if call.timeline:
        say()
        for entry in call.timeline:
            say(f"  {timeline_line(entry)}")


def _say_attempt(attempt: "Attempt") -> None:
    colour = _style(attempt.status)
    say(f"  attempt {attempt.number}  {styled(attempt.status, *colour)}")
    talk = None if attempt.duration_ms is None else duration(attempt.duration_ms / 1000)
    say_facts(
        [
            ("Retell call", attempt.retell_call_id),
            ("outcome", attempt.outcome),
            ("disconnected", attempt.disconnection_reason),
            ("talk time", talk),
            ("successful", attempt.call_successful),
            ("sentiment", attempt.user_sentiment),
            ("cost", None if attempt.cost_usd is None else f"${attempt.cost_usd:.4f}"),
            ("recording", attempt.recording_url),
            ("summary", attempt.call_summary),
        ],
        indent="    ",
    )


def timeline_line(entry: "TimelineEntry") -> str:
    """`16:00:01.250  attempt 1  voice_call.initiated`."""
    words = [f"{entry.at:%H:%M:%S}.{entry.at.microsecond // 1000:03}"]
    words.append("" if entry.attempt is None else f"attempt {entry.attempt}")
    kind = entry.kind + (f" ({entry.reason})" if entry.reason else "")
    return f"{styled(words[0], 'dim')}  {words[1]:9}  {kind}"


def _style(status: str) -> tuple[str, ...]:
    return (COLOURS[status],) if status in COLOURS else ()


def _moment(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _pairs(values: dict[str, Any] | None) -> str | None:
    return ", ".join(f"{name}={value}" for name, value in values.items()) if values else None

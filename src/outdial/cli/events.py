"""`outdial events`: provider events, as they came from Retell."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from outdial.cli import progress, session
from outdial.cli.family import Family
from outdial.cli.output import counted, note, say, say_facts, say_json, styled
from outdial.core.retell_events import KINDS
from outdial.errors import OutdialError, Poison

if TYPE_CHECKING:
    from outdial.ports.inbox import StoredEvent

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def replay(
    *,
    call_id: Annotated[
        str | None, typer.Option("--call", metavar="ID", help="Only events of this call.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind", metavar="KIND", help=f"Only events of this kind: {', '.join(KINDS)}."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="RFC 3339, or so long ago: 30m, 2h, 7d."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Likewise; not included.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    r"""Feed stored provider events through the webhook processor's work again.

    Changes nothing that is right already, and tells no activity event twice. Use it after a fault
    in processing has been mended.

    \b
    Examples:
      outdial events replay --call 0197a0b2-…
      outdial events replay --kind call_analyzed --since 2h
    """
    counts, poisoned = session.run(
        _replay(call_id, kind, moment("--since", since), moment("--until", until))
    )
    if as_json:
        say_json({**counts, "failed": len(poisoned)})
    else:
        say(f"{counted(sum(counts.values()), 'event')} replayed")
        say_facts([(name, f"{number:,}") for name, number in counts.items()], indent="  ")
    if kind is not None and kind not in KINDS and not counts and not poisoned:
        raise OutdialError(f"no stored event is of kind {kind}; Retell's are {', '.join(KINDS)}")
    for event, reason in poisoned:
        note(f"{styled('failed', 'red')}  {event.event} {event.id}: {reason}")
    if poisoned:
        raise typer.Exit(1)


FAMILY: Family = ("Provider events, as they came from Retell.", {"replay": replay})


def moment(option: str, text: str | None) -> int | None:
    """Milliseconds since the epoch of a time or of so long ago."""
    if text is None:
        return None
    if text[:-1].isdecimal() and text[-1:] in _UNITS:
        ago = timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        return int((datetime.now(UTC) - ago).timestamp() * 1000)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text}: write 2026-11-22T16:00:00Z, or so long ago as 30m, 2h, 7d", param_hint=option
        ) from None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)


async def _replay(
    call_id: str | None, kind: str | None, since: int | None, until: int | None
) -> "tuple[dict[str, int], list[tuple[StoredEvent, str]]]":
    from outdial import bootstrap, config  # noqa: PLC0415

    counts: Counter[str] = Counter()
    poisoned: list[tuple[StoredEvent, str]] = []
    async with bootstrap.open_ledger(config.load()) as ledger:
        if call_id is not None and await ledger.intake.get(None, call_id) is None:
            raise OutdialError(f"there is no call {call_id}; see `outdial calls list`")
        with progress.shown("Replaying") as shown:
            stored = ledger.inbox.stored(call_id=call_id, event=kind, since=since, until=until)
            async for page in stored:
                try:
                    taken = await ledger.inbox.replay([event.id for event in page])
                    counts.update(one.disposition.value for one in taken)
                except Poison:
                    # One of them can't be applied, so none of the page was: find which one.
                    for event in page:
                        try:
                            (one,) = await ledger.inbox.replay([event.id])
                            counts[one.disposition.value] += 1
                        except Poison as error:
                            poisoned.append((event, error.reason))
                shown.at(sum(counts.values()), counted(sum(counts.values()), "event"))
    return dict(counts), poisoned

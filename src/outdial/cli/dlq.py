"""`outdial dlq`: what could not be processed, or delivered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from outdial.cli import session
from outdial.cli.family import Family
from outdial.cli.output import counted, note, say, say_facts, say_json, say_table
from outdial.core.times import to_rfc3339
from outdial.errors import OutdialError

if TYPE_CHECKING:
    from outdial.ports.outbox import Undeliverable
    from outdial.ports.queue import DeadLetter

#: `activity` is no queue: activity events that the sink refused for three days.
Name = Literal["calls", "events", "activity"]
QUEUES = ("calls", "events", "activity")

QueueName = Annotated[
    str, typer.Argument(metavar="QUEUE", help="calls, events, or activity.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter of any of the three."""

    id: str
    at: int
    reason: str
    what: str
    facts: dict[str, object]


def list_(
    queue: QueueName,
    *,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, metavar="N", help="At most so many.")
    ] = 100,
    as_json: Json = False,
) -> None:
    r"""List dead letters, oldest first, each with the reason.

    \b
    Examples:
      outdial dlq list events
      outdial dlq list activity --json
    """
    letters = session.run(_letters(_known(queue), limit))
    if as_json:
        say_json({"items": [_as_json(letter) for letter in letters]})
        return
    if not letters:
        note(f"No dead letter in {queue}.")
        return
    say_table(
        ["id", "since (UTC)", "what", "reason"],
        [[x.id, to_rfc3339(x.at)[:19].replace("T", " "), x.what, x.reason] for x in letters],
    )


def show(
    queue: QueueName,
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, from `dlq list`.")],
    *,
    as_json: Json = False,
) -> None:
    """Show one dead letter with its whole body."""
    letters = session.run(_letters(_known(queue), _MOST))
    found = [letter for letter in letters if letter.id == letter_id]
    if not found:
        raise OutdialError(_unknown([letter_id], queue))
    if as_json:
        say_json(_as_json(found[0]))
    else:
        letter = found[0]
        facts = [("id", letter.id), ("since", to_rfc3339(letter.at)), ("reason", letter.reason)]
        say_facts([*facts, *letter.facts.items()])


def redrive(
    queue: QueueName,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Which; all by default.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    r"""Send dead letters back, to be processed (or delivered) again.

    Safe to repeat: the database knows what was processed before.

    \b
    Examples:
      outdial dlq redrive events
      outdial dlq redrive activity 6ee2…
    """
    sent, unknown = session.run(_redrive(_known(queue), ids or None))
    if as_json:
        say_json({"redriven": sent})
    elif sent or not unknown:
        say(f"{counted(sent, 'dead letter')} sent back to {queue}.")
    if unknown:
        raise OutdialError(_unknown(unknown, queue))


FAMILY: Family = (
    "Dead letters of the queues `calls` and `events`, and of the activity sink.",
    {"list": list_, "show": show, "redrive": redrive},
)


def _known(queue: str) -> Name:
    if queue not in QUEUES:
        raise typer.BadParameter(f"{queue} is none of {', '.join(QUEUES)}", param_hint="QUEUE")
    return cast("Name", queue)


async def _letters(queue: Name, limit: int) -> list[Letter]:
    from outdial import bootstrap, config  # noqa: PLC0415

    settings = config.load()
    if queue == "activity":
        async with bootstrap.open_ledger(settings) as ledger:
            return [_undelivered(item) for item in await ledger.activity.undeliverable(limit)]
    async with bootstrap.open_queue(settings, queue) as opened:
        return [_dead(item) for item in await opened.dead_letters(limit)]


def _unknown(ids: Sequence[str], queue: str) -> str:
    return f"there is no dead letter {', '.join(ids)} in {queue}; see `outdial dlq list {queue}`"


async def _redrive(queue: Name, ids: Sequence[str] | None) -> tuple[int, list[str]]:
    """How many were sent back, and which of `ids` are none."""
    from outdial import bootstrap, config  # noqa: PLC0415

    known = set() if ids is None else {letter.id for letter in await _letters(queue, _MOST)}
    unknown = [one for one in dict.fromkeys(ids or ()) if one not in known]
    if ids is not None and len(unknown) == len(set(ids)):
        return 0, unknown
    settings = config.load()
    if queue == "activity":
        async with bootstrap.open_ledger(settings) as ledger:
            return await ledger.activity.redrive(ids), unknown
    async with bootstrap.open_queue(settings, queue) as opened:
        return await opened.redrive(ids), unknown


def _undelivered(item: "Undeliverable") -> Letter:
    facts: dict[str, object] = {"type": item.type, "call": item.call_id}
    return Letter(item.event_id, item.parked_at, item.reason, item.type, facts)


def _dead(item: "DeadLetter") -> Letter:
    facts: dict[str, object] = {
        "stage": item.stage,
        "received": item.receive_count,
        "sent": to_rfc3339(item.sent_at),
        "body": item.body,
    }
    return Letter(item.id, item.dead_at, item.reason, item.stage, facts)


def _as_json(letter: Letter) -> dict[str, object]:
    own = {"id": letter.id, "since": to_rfc3339(letter.at), "reason": letter.reason}
    return {**own, **letter.facts}

"""`outdial audit`: is every promise kept?"""

from typing import TYPE_CHECKING, Annotated

import typer

from outdial.cli import session
from outdial.cli.output import counted, note, say, say_json, say_table, styled

if TYPE_CHECKING:
    from outdial.audit import Report

SOURCES = ("provider", "warehouse")


def audit(
    *,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without",
            metavar="SOURCE",
            help="Leave out `provider` or `warehouse`; may be given twice.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    r"""Check every promise: the ledger, the warehouse and the provider's own list, held together.

    Every accepted call has ended or has a reason to wait, nothing was dialed twice or without our
    knowing, every event was told once and in order. Changes nothing, and may run beside `up`.
    Exit code 1 on any violation, and where something could not be checked.

    \b
    Examples:
      outdial audit
      outdial audit --without provider --json
    """
    left_out = frozenset(without or ())
    unknown = sorted(left_out - set(SOURCES))
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: it can do without {' or '.join(SOURCES)}",
            param_hint="--without",
        )
    from outdial.cli.auditing import run_audit  # noqa: PLC0415 - `--help` does without

    report = session.run(run_audit(left_out))
    if as_json:
        say_json(as_object(report))
    else:
        _say(report)
        for source in sorted(left_out):
            note(f"Not checked, as asked: the {source}.")
    if not report.ok:
        raise typer.Exit(1)


def as_object(report: "Report") -> dict[str, object]:
    """The result for a program. `violations` is cut a rule; `counts` is not."""
    return {
        "ok": report.ok,
        "checked": dict(report.checked),
        "violations": [
            {
                "rule": one.rule,
                "call_id": one.call_id,
                "attempt": one.attempt,
                "detail": one.detail,
            }
            for one in report.violations
        ],
        "provisional": report.provisional,
        "counts": dict(report.counts),
        "waiting": dict(report.waiting),
        "waiting_rows": dict(report.waiting_rows),
    }


def _say(report: "Report") -> None:
    from outdial.audit import RULES  # noqa: PLC0415

    rules = {**RULES, **dict.fromkeys(report.counts.keys() - RULES.keys(), "no such alarm")}
    say_table(
        ["promise", "broken", "that is"],
        [[name, report.counts[name], meaning] for name, meaning in rules.items()],
    )
    say()
    say_table(
        ["checked", "number"],
        [
            *((_words(name), number) for name, number in report.checked.items()),
            *((f"waiting: {name}", number) for name, number in report.waiting.items()),
            *(
                (f"waiting to be loaded: {name}", number)
                for name, number in report.waiting_rows.items()
            ),
            ("attempts concluded without the provider's word", report.provisional),
        ],
    )
    if report.ok:
        say()
        say(styled("Every promise is kept.", "green"))
        return
    say()
    say_table(
        ["rule", "call", "attempt", "detail"],
        [[one.rule, one.call_id, one.attempt, one.detail] for one in report.violations],
    )
    total = sum(report.counts.values())
    more = total - len(report.violations)
    cut = f", {more:,} of them not listed" if more else ""
    say()
    say(styled(f"{counted(total, 'violation')}{cut}.", "red"))


def _words(name: str) -> str:
    return name.replace("_", " ")

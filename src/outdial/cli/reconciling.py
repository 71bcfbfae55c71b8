"""`outdial reconcile`: the ledger against Retell's own."""

from typing import TYPE_CHECKING, Annotated

import typer

from outdial.cli import progress, session
from outdial.cli.output import note, say, say_facts, say_json, say_table, styled
from outdial.core.times import to_rfc3339

if TYPE_CHECKING:
    from outdial.ports.reconciliation import DriftReport

_MEANINGS = {
    "start_missed": "call_started never came",
    "end_missed": "call_ended never came",
    "analysis_missed": "call_analyzed never came",
    "never_analysed": "ended there, and never analysed: concluded with what is known",
    "not_found": "no longer known to Retell: closed as lost",
    "adopted": "at Retell, and unknown to its attempt",
    "second_call": "a second Retell call of one attempt: stopped",
    "unknown_call": "at Retell under our name, and nowhere in the ledger",
}


def reconcile(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Ask Retell now, and mend what differs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    r"""Show where Retell and the ledger differed in the last day, and what is left.

    With --once Retell is asked first: for calls of the last two hours that the ledger does not
    know, and about every call that has been silent for OUTDIAL_RECONCILE_AFTER seconds. Works on
    the configured database by itself, beside a running system or without one. Exit code 1 where
    something is left that a person has to look at, or Retell could not be asked.

    \b
    Examples:
      outdial reconcile                       what the reconciler found
      outdial reconcile --once --json         ask now
    """
    report = session.run(_report(once=once))
    if as_json:
        from outdial.internal_api.drift import report_json  # noqa: PLC0415

        say_json(report_json(report))
    else:
        _show(report)
    if report.trouble is not None or report.unmended:
        raise typer.Exit(1)


async def _report(*, once: bool) -> "DriftReport":
    from outdial import bootstrap, config  # noqa: PLC0415

    settings = config.load()
    if not once:
        async with bootstrap.open_ledger(settings) as ledger:
            return await ledger.reconciliation.report()

    from outdial.cli.simulated import with_simulator  # noqa: PLC0415
    from outdial.telemetry import set_up_logging  # noqa: PLC0415

    # The report tells the rest, and stdout is the report's alone.
    set_up_logging("error")
    async with bootstrap.open_reconciler(with_simulator(settings)) as reconciler:
        with progress.shown("Asking Retell") as shown:
            return await reconciler.once(lambda asked: shown.at(asked, f"{asked:,} asked"))


def _show(report: "DriftReport") -> None:
    say(f"Since {to_rfc3339(report.since)}:")
    if report.counts:
        rows = [(one.kind, one.found, one.mended, _MEANINGS[one.kind]) for one in report.counts]
        say_table(("kind", "found", "mended", "meaning"), rows)
    else:
        say("Retell and the ledger agreed.")
    oldest = report.oldest_silent_since
    say_facts(
        [
            ("unmended", f"{report.unmended:,}"),
            ("silent", f"{report.silent:,}" + (f", since {to_rfc3339(oldest)}" if oldest else "")),
            ("not found", f"{report.not_found:,}"),
            ("provisional", f"{report.provisional:,}"),
        ]
    )
    for finding in report.findings:
        if finding.mended_at is None:
            told = f"{finding.kind} {finding.retell_call_id} (call {finding.call_id or 'unknown'})"
            note(f"{styled('left', 'red')}  {told}")
    if report.trouble is not None:
        note(f"{styled('trouble', 'red')}  {report.trouble}")

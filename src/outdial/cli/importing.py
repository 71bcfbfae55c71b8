"""`outdial import`: a file of people to call, through the Voice API."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outdial.cli import progress, session
from outdial.cli.output import (
    complain,
    counted,
    duration,
    note,
    say,
    say_facts,
    say_json,
    styled,
)
from outdial.errors import OutdialError

if TYPE_CHECKING:
    from outdial.client import ApiError
    from outdial.config import Settings
    from outdial.contacts.placing import Judge, Tally
    from outdial.contacts.reader import Contacts, Reading, Row
    from outdial.contacts.rejects import Rejects
    from outdial.contacts.source import Source

#: Rejected rows that are named on the terminal; the file names all.
_NAMED_REASONS = 5


def import_(  # noqa: PLR0913 - an option each
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="CSV or NDJSON, .gz too; - is stdin.")
    ],
    *,
    mapped: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="COLUMN=FIELD",
            help="What a column means: a field (to_number, external_id, campaign, time_zone, "
            "not_before, …), metadata.NAME, a variable's name, or - to leave it out. "
            "May be repeated.",
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="CC", help="Country of national numbers: US, GB, DE, …"),
    ] = None,
    campaign: Annotated[
        str | None,
        typer.Option("--campaign", metavar="C", help="Campaign of rows that name none."),
    ] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="ID", help="Agent of rows that name none.")
    ] = None,
    from_number: Annotated[
        str | None,
        typer.Option("--from", metavar="NUMBER", help="Caller number of rows that name none."),
    ] = None,
    time_zone: Annotated[
        str | None,
        typer.Option("--time-zone", metavar="TZ", help="Time zone (IANA) of rows that name none."),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            metavar="COLUMN",
            help="Column that tells one call from another, instead of the number. May be repeated.",
        ),
    ] = None,
    allow_duplicates: Annotated[
        bool,
        typer.Option(
            "--allow-duplicates",
            help="Call a person once for each row, where rows differ or come twice.",
        ),
    ] = False,
    rejected: Annotated[
        str | None,
        typer.Option(
            "--rejected", metavar="FILE", help="Where bad rows go.  [default: FILE.rejected.csv]"
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every row and place no call.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    r"""Place a call for every row of a CSV or NDJSON file.

    CSV as spreadsheets write it: any encoding and delimiter; the first row names the columns. The
    column with the number is found by its name (phone, mobile, …) or given with --map; columns
    that are no field of a call become dynamic variables for the agent. NDJSON: each line is the
    body of POST /v1/calls.

    Safe to repeat: a person is called once in a campaign, whichever of their rows comes first, so
    the same file again, in any order, or a corrected one, places only what was not placed before,
    and an import that was killed goes on. A new round to the same people is a new --campaign.

    Bad rows go to FILE.rejected.csv with their row number and the reason; correct and import that
    file. Exit code 1 when a row was rejected. Further rows of a person go to FILE.duplicates.csv,
    and are no failure.

    \b
    Examples:
      outdial import contacts.csv --campaign night-nurses
      outdial import kontakte.csv --region DE --map "Rückrufnummer=to_number"
      outdial import contacts.csv --dry-run
      zcat calls.ndjson.gz | outdial import -
    """
    from outdial.contacts.reader import Contacts, Reading  # noqa: PLC0415
    from outdial.contacts.rejects import DUPLICATES_SUFFIX, SUFFIX, Rejects  # noqa: PLC0415
    from outdial.contacts.source import STDIN, open_source  # noqa: PLC0415

    defaults = {
        "campaign": campaign,
        "agent_id": agent,
        "from_number": from_number,
        "time_zone": time_zone,
    }
    reading = Reading(
        region=_region(region),
        mapped=_mapping(mapped or ()),
        defaults={name: value for name, value in defaults.items() if value},
        key=tuple(key or ()),
        allow_duplicates=allow_duplicates,
    )
    source = open_source(file)
    try:
        contacts = Contacts(source, reading)
        path = Path(rejected or ("stdin" if file == STDIN else file) + SUFFIX)
        beside = Path(str(path).removesuffix(SUFFIX) + DUPLICATES_SUFFIX)
        left = LeftOut(
            Rejects(path, contacts.header, contacts.delimiter),
            Rejects(beside, contacts.header, contacts.delimiter),
        )
        if not as_json:
            _introduce(source, contacts, reading)
        work = Import(source, contacts, left, dry_run=dry_run)
        try:
            work.run()
        finally:
            left.close()
        work.report(as_json=as_json)
    finally:
        source.close()
    if work.tally.rejected:
        raise typer.Exit(1)


class LeftOut:
    """The rows that were not placed: in their files all of them, for the terminal the first few."""

    def __init__(self, rejects: "Rejects", duplicates: "Rejects") -> None:
        """Nothing was left out yet."""
        self.rejects = rejects
        self.duplicates = duplicates
        self._reasons: dict[Rejects, list[tuple[int, str]]] = {rejects: [], duplicates: []}

    def reject(self, row: "Row", reason: str) -> None:
        """A row to be corrected."""
        self._add(self.rejects, row, reason)

    def duplicate(self, row: "Row", reason: str) -> None:
        """A row whose person is called already."""
        self._add(self.duplicates, row, reason)

    def explain(self) -> None:
        """Say why, and where they are."""
        for kept, reasons in self._reasons.items():
            for row, reason in reasons:
                note(f"  row {row}: {reason}")
            if kept.count > len(reasons):
                note(f"  … and {kept.count - len(reasons):,} more")
            if kept.count and kept is self.duplicates:
                note(f"Duplicates were not called; they are in {kept.path}")
        if self.rejects.count:
            rows = counted(self.rejects.count, "row")
            complain(f"{rows} rejected: correct them in {self.rejects.path} and import that file")

    def close(self) -> None:
        """Close the files."""
        self.rejects.close()
        self.duplicates.close()

    def _add(self, kept: "Rejects", row: "Row", reason: str) -> None:
        kept.add(row.row, reason, row.cells)
        if len(self._reasons[kept]) < _NAMED_REASONS:
            self._reasons[kept].append((row.row, reason))


class Import:
    """One run over a file, with its progress and its summary."""

    def __init__(
        self, source: "Source", contacts: "Contacts", left: LeftOut, *, dry_run: bool
    ) -> None:
        """Nothing is placed before `run`."""
        self._source = source
        self._contacts = contacts
        self._left = left
        self._dry_run = dry_run
        self._began = time.monotonic()
        self._progress: progress.Progress | None = None
        self._tally: Tally | None = None
        self._stalled: tuple[int, str] | None = None

    @property
    def tally(self) -> "Tally":
        """What became of the rows; `run` has set it."""
        if self._tally is None:
            raise OutdialError("nothing was imported")
        return self._tally

    def run(self) -> None:
        """Place (or check) every row."""
        title = "Checking" if self._dry_run else "Importing"
        with progress.shown(title, float(self._source.size)) as self._progress:
            try:
                session.run(self._place())
            except KeyboardInterrupt:
                if self._tally is not None and not self._dry_run:
                    note(
                        f"Stopped after {counted(self._tally.rows, 'row')}; the same command goes "
                        f"on from there, and places nothing twice."
                    )
                raise

    async def _place(self) -> None:
        from outdial import config  # noqa: PLC0415
        from outdial.contacts.placing import Placing  # noqa: PLC0415

        # Waiting for an API that is away is the import's own affair: no retries in the client.
        settings = config.load()
        from outdial.cli.voice import Voice  # noqa: PLC0415

        async with Voice(settings) as client:
            judge = _judge(settings)
            left = self._left
            placing = Placing(
                client,
                reject=left.reject,
                duplicate=left.duplicate,
                moved=self._moved,
                waiting=self._wait,
                judge=judge,
            )
            self._tally = placing.tally
            rows = iter(self._contacts)
            if self._dry_run:
                placing.check(rows)
            else:
                await placing.run(rows)

    def report(self, *, as_json: bool) -> None:
        """The summary."""
        seconds = time.monotonic() - self._began
        if as_json:
            say_json(
                {
                    "file": self._source.name,
                    "dry_run": self._dry_run,
                    **asdict(self.tally),
                    "rejected_file": self._left.rejects.written,
                    "duplicates_file": self._left.duplicates.written,
                    "seconds": round(seconds, 3),
                }
            )
            return
        tally = self.tally
        facts: list[tuple[str, Any]] = [
            ("valid" if self._dry_run else "accepted", _count(tally.accepted, "green")),
            ("placed before", _count(tally.replayed) if tally.replayed else None),
            ("duplicates", _count(tally.duplicates, "yellow") if tally.duplicates else None),
            ("rejected", _count(tally.rejected, "red") if tally.rejected else None),
        ]
        rate = f", {tally.rows / seconds:,.0f} a second" if seconds > 1 else ""
        say(f"{counted(tally.rows, 'row')} in {duration(seconds)}{rate}")
        say_facts(facts, indent="  ")
        self._left.explain()

    def _moved(self) -> None:
        if self._progress is None:
            return
        tally = self.tally
        settled = tally.accepted + tally.replayed + tally.duplicates + tally.rejected
        # What was read and not placed yet is not done.
        done = self._source.position * (settled / max(tally.rows, 1))
        if self._stalled is not None and self._stalled[0] == settled:
            self._progress.at(done, f"{settled:,} placed, waiting: {self._stalled[1]}")
            return
        rate = settled / max(time.monotonic() - self._began, 0.001)
        told = f"{counted(settled, 'row')}, {rate:,.0f}/s"
        if tally.rejected:
            told += f", {tally.rejected:,} rejected"
        self._progress.at(done, told)

    def _wait(self, error: "ApiError") -> None:
        tally = self.tally
        settled = tally.accepted + tally.replayed + tally.duplicates + tally.rejected
        self._stalled = settled, str(error)
        if self._progress is not None:
            self._progress.notice(f"{error}; waiting, then going on (Ctrl-C stops)")


def _judge(settings: "Settings") -> "Judge":
    """The Voice API's own validation, without the API."""

    def judge(line: Mapping[str, Any]) -> str | None:
        from outdial.client.problems import read_problem  # noqa: PLC0415
        from outdial.contacts.placing import ANY_NUMBER, reason  # noqa: PLC0415
        from outdial.http_common.problems import ProblemError  # noqa: PLC0415
        from outdial.internal_api.reading import Defaults, read_call, read_key  # noqa: PLC0415

        # The caller's number may be set where the API runs, and not here.
        number = settings.default_from_number or ANY_NUMBER
        body = dict(line)
        key = read_key(body.pop("idempotency_key", None), "#/idempotency_key")
        try:
            read_call("default", body, Defaults(number, settings.default_agent_id), key)
        except ProblemError as error:
            return reason(read_problem(error.problem.status, error.problem.body()))
        return None

    return judge


def _introduce(source: "Source", contacts: "Contacts", reading: "Reading") -> None:
    for notice in source.notices:
        note(f"{source.name}: {notice}")
    columns = contacts.columns
    if columns is None:
        return
    fields = ", ".join(
        name if contacts.header[index] == name else f"{contacts.header[index]} as {name}"
        for name, index in columns.fields.items()
    )
    note(f"{styled('Fields', 'dim')}     {fields}")
    if columns.variables:
        note(f"{styled('Variables', 'dim')}  {', '.join(columns.variables)}")
    if columns.metadata:
        note(f"{styled('Metadata', 'dim')}   {', '.join(columns.metadata)}")
    if reading.defaults:
        told = ", ".join(f"{name} {value}" for name, value in reading.defaults.items())
        note(f"{styled('For all', 'dim')}    {told}")


def _count(number: int, *style: str) -> str:
    return styled(f"{number:,}", *style) if number else "0"


def _region(text: str | None) -> str | None:
    from outdial.contacts.number import known_region  # noqa: PLC0415

    if text is None:
        return None
    if not known_region(text.upper()):
        raise typer.BadParameter(f"{text} is no country code such as US or DE")
    return text.upper()


def _mapping(texts: Sequence[str]) -> dict[str, str]:
    mapping: dict[str, str] = {}
    for text in texts:
        # Header names may hold an equals sign, targets never do.
        column, equals, target = text.rpartition("=")
        if not equals or not column or not target:
            raise typer.BadParameter(
                "must be COLUMN=FIELD, for instance Mobile=to_number", param_hint="--map"
            )
        mapping[column.strip()] = target.strip()
    return mapping

"""A contact file as a stream of rows, each with a request for a call or the reason why not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from outdial.contacts import moment, number
from outdial.contacts.columns import (
    FIELDS,
    JSON_COLUMN,
    METADATA,
    NUMBER,
    REASON_COLUMN,
    ROW_COLUMN,
    Columns,
    folded,
    understand,
)
from outdial.contacts.errors import UnreadableFileError, UnusableRowError
from outdial.contacts.identity import KEY, Identity, Known
from outdial.contacts.sheet import Record, Sheet
from outdial.contacts.source import Source

TIMES = ("not_before", "expires_at")
#: The Voice API's limit on one line of a batch, in bytes.
MAX_LINE = 1_048_576


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is to be read.

    `region`: where national numbers belong. `mapped`: column → target. `defaults`: fields of the
    call for rows that do not say them. `key`: the names that identify a row (identity.py).
    """

    region: str | None = None
    mapped: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    key: Sequence[str] = ()
    allow_duplicates: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the file: the cells as they were, and what became of them.

    Either `request` (the Voice API's body with its `idempotency_key`) or `reason` is set.
    `known`: by what it is known, where it has a request. `draft`: what of a row with a `reason` was
    understood, so that all else that is wrong can be told too.
    """

    row: int
    cells: list[str]
    request: dict[str, Any] | None = None
    reason: str | None = None
    known: Known | None = None
    draft: dict[str, Any] | None = None


class Contacts:
    """The rows of one opened file. `header` and `delimiter` are those of its rejected file."""

    def __init__(self, source: Source, reading: Reading) -> None:
        """Reads the header. Raises `UnreadableFileError` where it makes no sense."""
        self._source = source
        self._reading = reading
        self._sheet: Sheet | None = None
        self._columns: Columns | None = None
        self.header = [JSON_COLUMN]
        self.delimiter = ","
        key = list(reading.key)
        if source.kind == "sheet":
            self._sheet = Sheet(source.name, source.text)
            self.header, self.delimiter = self._sheet.header, self._sheet.delimiter
            if not self._holds_json():
                self._columns = understand(self.header, reading.mapped)
                key = [_target(self.header, self._columns, name) for name in key]
        self._identity = Identity(key, allow_duplicates=reading.allow_duplicates)

    @property
    def columns(self) -> Columns | None:
        """What the columns mean; None for NDJSON."""
        return self._columns

    def __iter__(self) -> Iterator[Row]:
        """Every row that is not blank, in the file's order."""
        with self._identity:
            for record in self._sheet or self._lines():
                yield self._row(record)

    def _lines(self) -> Iterator[Record]:
        for row, line in enumerate(self._source.text, start=1):
            if line.strip():
                yield Record(row, [line.strip().lstrip("\ufeff")])

    def _holds_json(self) -> bool:
        own = {ROW_COLUMN, REASON_COLUMN}
        return [name for name in map(folded, self.header) if name not in own] == [JSON_COLUMN]

    def _row(self, record: Record) -> Row:
        try:
            request = self._request(record)
            known = self._identity.of(request, record.row)
        except UnusableRowError as error:
            return Row(record.row, record.cells, reason=str(error), draft=error.draft)
        return Row(record.row, record.cells, {**request, KEY: known.key}, known=known)

    def _request(self, record: Record) -> dict[str, Any]:
        if record.fault:
            raise UnusableRowError(record.fault)
        if self._columns is None:
            line = self._json_cell(record)
            return self._from_json(line)
        return self._from_cells(record.cells, self._columns)

    def _json_cell(self, record: Record) -> str:
        if self._sheet is None:
            return record.cells[0]
        return record.cells[[folded(name) for name in self.header].index(JSON_COLUMN)]

    def _from_cells(self, cells: Sequence[str], columns: Columns) -> dict[str, Any]:
        request: dict[str, Any] = dict(self._reading.defaults)
        for name, index in columns.fields.items():
            if cell := cells[index].strip():
                request[name] = cell
        if columns.variables:
            # An empty cell stays an empty text, or the agent would read out its placeholder.
            request["dynamic_variables"] = {
                name: cells[index].strip() for name, index in columns.variables.items()
            }
        filled = {
            name: cells[i].strip() for name, i in columns.metadata.items() if cells[i].strip()
        }
        if filled:
            request["metadata"] = filled
        self._normalise(request, {})
        return request

    def _from_json(self, line: str) -> dict[str, Any]:
        if len(line.encode()) > MAX_LINE:
            raise UnusableRowError("longer than 1 MB")
        try:
            parsed = orjson.loads(line)
        except ValueError as error:
            raise UnusableRowError(f"not JSON: {error}") from None
        if not isinstance(parsed, dict):
            raise UnusableRowError("not a JSON object")
        request: dict[str, Any] = {**self._reading.defaults, **parsed}
        faults: dict[str, str] = {}
        for name in (NUMBER, *TIMES):
            value = request.get(name)
            if value is not None and not isinstance(value, str):
                faults[name] = f"{name}: not a text in quotes"
                del request[name]
        self._normalise(request, faults)
        return request

    def _normalise(self, request: dict[str, Any], faults: Mapping[str, str]) -> None:
        """Bring number and times into the API's form, but those with `faults`; raises with all."""
        found = list(faults.values())
        zone = request.get("time_zone")
        if not isinstance(zone, str):
            zone = None
        else:
            try:
                moment.zone(zone)
            except UnusableRowError as error:
                found.append(str(error))
                del request["time_zone"]
        for name in (NUMBER, *TIMES):
            text = request.get(name)
            try:
                if name == NUMBER and name not in faults:
                    request[NUMBER] = number.normalise(text or "", self._reading.region)
                elif text:
                    request[name] = moment.normalise(name, text, zone)
            except UnusableRowError as error:
                # A time in a zone that there is not has one fault, not two.
                if str(error) not in found:
                    found.append(str(error))
                request.pop(name, None)
        if found:
            raise UnusableRowError("; ".join(found), request)


def _target(header: Sequence[str], columns: Columns, name: str) -> str:
    """A name given with `--key`: a field, a variable, a metadata key, or a column's header."""
    bare = name.removeprefix("variable.")
    if name in columns.fields or bare in columns.variables:
        return name
    if name.startswith(METADATA) and name.removeprefix(METADATA) in columns.metadata:
        return name
    for index, title in enumerate(header):
        if folded(title) != folded(name):
            continue
        for target, at in [
            *columns.fields.items(),
            *((f"variable.{variable}", at) for variable, at in columns.variables.items()),
            *((METADATA + key, at) for key, at in columns.metadata.items()),
        ]:
            if at == index:
                return target
    known = ", ".join(f"“{title}”" for title in header if title)
    allowed = f"{known}" if known else ", ".join(FIELDS)
    raise UnreadableFileError(f"--key {name}: no such column; there is {allowed}")

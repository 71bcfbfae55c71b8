"""The cells of a sheet: its delimiter, its header, its rows as a spreadsheet counts them.

A quote that is not closed would make one cell of all rows behind it. Only its own row is refused
then: reading goes on at the next line. From there on a row counts only if it has as many cells as
the header, for a line out of a long text must not become a call.
"""

import csv
import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from outdial.contacts.errors import UnreadableFileError

DELIMITERS = ",;\t|"
#: The longest cell, in characters.
MAX_CELL = 1_048_576
#: A cell over several lines has at most so many line breaks, and so many characters.
MAX_BREAKS, MAX_TEXT = 20, 5_000
_SAMPLE = 65_536
_SAMPLE_ROWS = 20
#: A quote that is open over so many lines is never closed.
_MAX_LINES = 200


@dataclass(frozen=True, slots=True)
class Record:
    """One row. `row`: its number as a spreadsheet shows it; the header is row 1.

    `fault`: why its cells can't be trusted, or None.
    """

    row: int
    cells: list[str]
    fault: str | None = None


class Sheet:
    """A header and a stream of records, from text opened with `newline=""`."""

    def __init__(self, name: str, text: TextIO) -> None:
        """Reads the header. Raises `UnreadableFileError` where there is none."""
        self._name = name
        self._text = text
        #: Lines that were read ahead, and those of the record that is being read.
        self._ahead: deque[str] = deque()
        self._taken: list[str] = []
        #: Whether the record's quotes were still open when its lines ended.
        self._open = False
        self._line = 0
        self._row = 0
        #: The row whose quote was not closed; rows after it must be as wide as the header.
        self._torn: int | None = None
        csv.field_size_limit(MAX_CELL)
        sample = _first_characters(text)
        declared = sample[:6].lower()
        if declared.startswith("sep=") and len(declared) > 4:
            self.delimiter = sample[4]
            text.readline()
            self._line = 1
        else:
            self.delimiter = _delimiter(sample)
        self._reader = csv.reader(self._lines(), delimiter=self.delimiter)
        self.header = self._read_header()

    def __iter__(self) -> Iterator[Record]:
        """All rows but blank ones."""
        while (cells := self._next()) is not None:
            if self._is_torn(cells):
                yield self._go_on_behind(self._taken[0])
            else:
                first = self._line + 1
                self._line += len(self._taken)
                if any(cell.strip() for cell in cells):
                    yield self._record(cells, first, self._line)

    def _next(self) -> list[str] | None:
        """The cells of the next record; its lines are in `_taken`."""
        self._taken.clear()
        try:
            cells = next(self._reader, None)
        except csv.Error:
            # The only one there is: a cell over MAX_CELL.
            self._open, cells = True, []
        if cells is not None:
            self._row += 1
        return cells

    def _lines(self) -> Iterator[str]:
        """The text's lines. Asked for one more where there is none, it notes an open quote."""
        self._open = False
        while len(self._taken) < _MAX_LINES:
            line = self._ahead.popleft() if self._ahead else self._text.readline()
            if not line:
                break
            self._taken.append(line)
            yield line
        self._open = True

    def _is_torn(self, cells: list[str]) -> bool:
        """Whether the record is a row with an open quote, and the rows that it took in."""
        if self._open:
            return True
        if len(self._taken) == 1:
            return False
        return self._misquoted() or (_too_long(cells) is not None and self._took_in_rows())

    def _misquoted(self) -> bool:
        """Whether a quote in the lines of this record is neither doubled nor at a cell's end."""
        try:
            list(csv.reader(self._taken, delimiter=self.delimiter, strict=True))
        except csv.Error:
            return True
        return False

    def _took_in_rows(self) -> bool:
        """Whether most lines after the first are as wide as the header: no text, but rows."""
        behind = self._taken[1:]
        width = len(self.header)
        rows = sum(len(cells) == width for cells in csv.reader(behind, delimiter=self.delimiter))
        return 2 * rows > len(behind)

    def _go_on_behind(self, line: str) -> Record:
        """The row with the open quote, by itself; what it took in is read again."""
        self._ahead.extendleft(reversed(self._taken[1:]))
        self._reader = csv.reader(self._lines(), delimiter=self.delimiter)
        self._line += 1
        self._torn = self._row
        try:
            cells = next(csv.reader([line], delimiter=self.delimiter))
        except csv.Error:
            cells = [line]
        cells[-1] = cells[-1].rstrip("\r\n")
        fault = (
            f"a quote is opened in line {self._line} and not closed in its row: close it, or "
            f'double it ("") where it belongs to the text; the rows after it are read on their own'
        )
        return Record(self._row, cells, fault)

    def _record(self, cells: list[str], first: int, last: int) -> Record:
        width = len(self.header)
        if last > first and (why := _too_long(cells)) is not None:
            fault = f"{why}, from line {first} to {last}: is a quote not closed? Else shorten it"
            return Record(self._row, cells, fault)
        extra = cells[width:]
        if any(cell.strip() for cell in extra):
            fault = f"{len(cells)} cells where the header has {width}: is a cell not quoted?"
            if last > first:
                fault += f" (it spans lines {first} to {last}: is a quote not closed?)"
            return Record(self._row, cells, fault)
        # Spreadsheets leave out empty cells at the end of a row, or add some.
        whole = cells[:width] + [""] * (width - len(cells))
        if self._torn is not None and len(cells) < width:
            fault = (
                f"{len(cells)} cells where the header has {width}: is it a row, or of a text whose "
                f"quote is not closed (row {self._torn})?"
            )
            return Record(self._row, whole, fault)
        return Record(self._row, whole)

    def _read_header(self) -> list[str]:
        while (cells := self._next()) is not None:
            self._line += len(self._taken)
            if self._open or (len(self._taken) > 1 and self._misquoted()):
                raise UnreadableFileError(
                    f"{self._name}, row {self._row}: a quote is opened and never closed "
                    f"(it is in the header); mend it and import the file again"
                )
            header = [cell.strip().lstrip("\ufeff") for cell in cells]
            while header and not header[-1]:
                header.pop()
            if header:
                return header
        raise UnreadableFileError(f"{self._name} has no header row")


def _too_long(cells: list[str]) -> str | None:
    """What makes one of the cells of a record over several lines too long, or None."""
    for cell in cells:
        breaks = cell.count("\n") or cell.count("\r")
        if breaks > MAX_BREAKS:
            return f"a cell with {breaks} line breaks, where {MAX_BREAKS} are allowed"
        if breaks and len(cell) > MAX_TEXT:
            return f"a cell over several lines with {len(cell):,} characters ({MAX_TEXT:,} allowed)"
    return None


def _first_characters(text: TextIO) -> str:
    sample = text.read(_SAMPLE)
    text.seek(0)
    return sample.removeprefix("\ufeff")


def _delimiter(sample: str) -> str:
    """The delimiter under which most of the sample's rows are as wide as its header."""

    def fitness(delimiter: str) -> tuple[float, int]:
        rows = []
        for cells in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter):
            if any(cells):
                rows.append(len(cells))
            if len(rows) > _SAMPLE_ROWS:
                break
        if not rows or rows[0] == 1:
            return (0.0, 0)
        # The sample's last row may be cut off in the middle.
        body = rows[1:-1] or rows[1:] or rows
        return (sum(width == rows[0] for width in body) / len(body), rows[0])

    return max(DELIMITERS, key=fitness)

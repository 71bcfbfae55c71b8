"""The cells of a sheet: its delimiter, its header, its rows as a spreadsheet counts them."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from outdial.contacts.errors import UnreadableFileError

DELIMITERS = ",;\t|"
#: The longest cell; more is a quote that was opened and never closed.
MAX_CELL = 1_048_576
_SAMPLE = 65_536
_SAMPLE_ROWS = 20
#: A record over more lines than this has lost its closing quote.
_MAX_LINES = 2_000


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
        csv.field_size_limit(MAX_CELL)
        sample = _first_characters(text)
        declared = sample[:6].lower()
        if declared.startswith("sep=") and len(declared) > 4:
            self.delimiter = sample[4]
            text.readline()
        else:
            self.delimiter = _delimiter(sample)
        self._lines: list[str] = []
        self._ended = False
        self._reader = csv.reader(self._remembered(text), delimiter=self.delimiter)
        self._row = 0
        self.header = self._read_header()

    def __iter__(self) -> Iterator[Record]:
        """All rows but blank ones."""
        width = len(self.header)
        while True:
            line = self._reader.line_num
            self._lines.clear()
            try:
                cells = next(self._reader, None)
            except csv.Error as error:
                raise self._broken(self._row + 1, str(error)) from None
            if cells is None:
                return
            self._row += 1
            lines = self._reader.line_num - line
            if self._ended:
                raise self._broken(self._row, f"it takes in lines {line + 1} to {line + lines}")
            if lines > _MAX_LINES:
                raise self._broken(self._row, f"it spans {lines} lines")
            if not any(cell.strip() for cell in cells):
                continue
            yield self._record(cells, width, line + 1, lines)

    def _remembered(self, text: TextIO) -> Iterator[str]:
        """The lines of `text`. Asked for one more in the midst of a record, `_ended` tells it."""
        for line in text:
            if len(self._lines) <= _MAX_LINES:
                self._lines.append(line)
            yield line
        self._ended = True

    def _misquoted(self) -> bool:
        """Whether a quote in the lines of this record is neither doubled nor at a cell's end."""
        try:
            list(csv.reader(self._lines, delimiter=self.delimiter, strict=True))
        except csv.Error:
            return True
        return False

    def _record(self, cells: list[str], width: int, first: int, lines: int) -> Record:
        if lines > 1 and self._misquoted():
            fault = f"it spans lines {first} to {first + lines - 1}: is a quote not closed?"
            return Record(self._row, cells, fault)
        extra = cells[width:]
        if not any(cell.strip() for cell in extra):
            # Spreadsheets leave out empty cells at the end of a row, or add some.
            return Record(self._row, cells[:width] + [""] * (width - len(cells)))
        fault = f"{len(cells)} cells where the header has {width}: is a cell not quoted?"
        if lines > 1:
            fault += f" (it spans lines {first} to {first + lines - 1}: is a quote not closed?)"
        return Record(self._row, cells, fault)

    def _read_header(self) -> list[str]:
        for cells in self._reader:
            self._row += 1
            if self._ended:
                raise self._broken(self._row, "it is in the header")
            header = [cell.strip().lstrip("\ufeff") for cell in cells]
            while header and not header[-1]:
                header.pop()
            if header:
                return header
        raise UnreadableFileError(f"{self._name} has no header row")

    def _broken(self, row: int, detail: str) -> UnreadableFileError:
        return UnreadableFileError(
            f"{self._name}, row {row}: a quote is opened and never closed ({detail}); "
            f"mend it and import the file again: what was placed is not placed twice"
        )


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

"""The rows that were not taken, in files of their own.

`FILE.rejected.csv` is to be corrected and imported again; `FILE.duplicates.csv` needs no
correcting, and is apart so that it does not come back with what was corrected.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from outdial.contacts.columns import REASON_COLUMN, ROW_COLUMN, folded

SUFFIX = ".rejected.csv"
DUPLICATES_SUFFIX = ".duplicates.csv"


class Rejects:
    """Writes the file at the first row; an earlier one is kept beside it, with a `~`.

    The columns are those of the import, after the row's number and the reason; UTF-8 with the
    mark that spreadsheets look for, in the delimiter of the file that was imported.
    """

    def __init__(self, path: Path, header: Sequence[str], delimiter: str) -> None:
        """Moves an earlier file at `path` away."""
        self.path = path
        self.count = 0
        self._delimiter = delimiter
        own = {ROW_COLUMN, REASON_COLUMN}
        self._kept = [index for index, name in enumerate(header) if folded(name) not in own]
        self._width = len(header)
        self._header = [ROW_COLUMN, REASON_COLUMN, *(header[index] for index in self._kept)]
        self._file: IO[str] | None = None
        self._writer: Any = None
        if path.exists():
            path.replace(path.with_name(path.name + "~"))

    def add(self, row: int, reason: str, cells: Sequence[str]) -> None:
        """Write one row."""
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8-sig", newline="")
            self._writer = csv.writer(self._file, delimiter=self._delimiter)
            self._writer.writerow(self._header)
        # Cells beyond the header are what is wrong with a row: they go with it.
        kept = [cells[index] for index in self._kept if index < len(cells)]
        self._writer.writerow([row, reason, *kept, *cells[self._width :]])
        self.count += 1

    @property
    def written(self) -> str | None:
        """The file's path, if there is a file."""
        return str(self.path) if self.count else None

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()

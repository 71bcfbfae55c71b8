"""The bytes of a contact file: compression, encoding, and whether it is a sheet or NDJSON."""

import codecs
import gzip
import io
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, TextIO

from outdial.contacts.errors import UnreadableFileError

#: The name that stands for standard input.
STDIN = "-"
_SAMPLE = 65_536
_CHUNK = 1_048_576
#: Text on standard input is kept in memory up to this size, then in a temporary file.
_SPOOL = 8_388_608

_WORKBOOKS = {
    b"PK\x03\x04": "an Excel or LibreOffice workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass
class Source:
    """An opened contact file. `size`: its bytes as they lie on the disk, to show progress by.

    `notices` are lines for a person about how it was understood.
    """

    name: str
    kind: Literal["sheet", "ndjson"]
    encoding: str
    size: int
    text: TextIO
    notices: list[str] = field(default_factory=list)
    _raw: IO[bytes] | None = None

    @property
    def position(self) -> int:
        """Bytes read so far, of `size`."""
        return self._raw.tell() if self._raw is not None else 0

    def close(self) -> None:
        """Close the file."""
        self.text.close()
        if self._raw is not None:
            self._raw.close()


def open_source(name: str) -> Source:
    """Open `name` (`-`: standard input); `.gz` is unpacked on the way.

    Raises `UnreadableFileError` for what is no text, and `OSError` as `open` does.
    """
    raw = _spooled_stdin() if name == STDIN else Path(name).open("rb")  # noqa: SIM115 - likewise
    try:
        return _understand(name, raw)
    except BaseException:
        raw.close()
        raise


def _understand(name: str, raw: IO[bytes]) -> Source:
    size = raw.seek(0, io.SEEK_END)
    raw.seek(0)
    packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    try:
        stream: Any = gzip.GzipFile(fileobj=raw) if packed else raw
        sample = stream.read(_SAMPLE)
        for mark, what in _WORKBOOKS.items():
            if sample.startswith(mark):
                raise UnreadableFileError(
                    f"{name} is {what}: save it as “CSV UTF-8” and import that file"
                )
        encoding, notices = _encoding(name, stream, sample)
    except (EOFError, gzip.BadGzipFile) as error:
        raise UnreadableFileError(f"{name} can't be unpacked: {error}") from None
    stream.seek(0)
    # Undefined bytes of Windows-1252 and half a character of UTF-16 are shown as damage.
    text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline="")
    first = sample.decode(encoding, errors="ignore").lstrip("\ufeff \t\r\n")[:1]
    if not first:
        raise UnreadableFileError(f"{name} is empty")
    kind: Literal["sheet", "ndjson"] = "ndjson" if first == "{" else "sheet"
    if first == "[":
        raise UnreadableFileError(
            f"{name} is a JSON array: write one JSON object a line (NDJSON), "
            f"for instance with `jq -c '.[]'`"
        )
    return Source(name, kind, encoding, size, text, notices, raw)


def _encoding(name: str, stream: IO[bytes], sample: bytes) -> tuple[str, list[str]]:
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding, []
    nulls = sample.count(0)
    if nulls > len(sample) // 4:
        return ("utf-16-le" if sample[1:2] == b"\0" else "utf-16-be"), []
    if nulls:
        raise UnreadableFileError(f"{name} is no text file: save it as “CSV UTF-8”")
    offset = _first_byte_not_utf8(stream)
    if offset is None:
        return "utf-8", []
    return "cp1252", [
        f"not UTF-8 (byte {offset + 1}): read as Windows-1252; check names with accents"
    ]


def _first_byte_not_utf8(stream: IO[bytes]) -> int | None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    stream.seek(0)
    before = 0
    while chunk := stream.read(_CHUNK):
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            return before + error.start
        before += len(chunk)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return before
    return None


def _spooled_stdin() -> IO[bytes]:
    spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL)  # noqa: SIM115 - Source closes it
    shutil.copyfileobj(sys.stdin.buffer, spool)
    spool.seek(0)
    return spool

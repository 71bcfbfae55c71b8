"""The bytes of contact files: encodings, compression, and what is no text at all."""

import gzip
import io
from pathlib import Path

import pytest

from outdial.contacts.errors import UnreadableFileError
from outdial.contacts.source import open_source

TEXT = "name,phone\nZoë,+14155550123\n"


def _text(path: Path) -> str:
    source = open_source(str(path))
    try:
        return source.text.read().lstrip("\ufeff")
    finally:
        source.close()


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]
)
def test_the_encoding_is_found(tmp_path: Path, encoding: str) -> None:
    """Text in any encoding that spreadsheets write reads the same."""
    path = tmp_path / "contacts.csv"
    path.write_bytes(TEXT.encode(encoding))
    assert _text(path) == TEXT


def test_a_guessed_encoding_is_told(tmp_path: Path) -> None:
    """Windows-1252 is a guess, so whoever imports is told to check."""
    path = tmp_path / "contacts.csv"
    path.write_bytes(TEXT.encode("cp1252"))
    source = open_source(str(path))
    source.close()
    assert "Windows-1252" in source.notices[0]


def test_a_late_byte_decides_the_encoding(tmp_path: Path) -> None:
    """The first letter with an accent may come megabytes after the start."""
    path = tmp_path / "contacts.csv"
    path.write_bytes(b"name,phone\n" + b"a,+14155550123\n" * 200_000 + "Zoë,+1".encode("cp1252"))
    source = open_source(str(path))
    assert source.encoding == "cp1252"
    source.close()


def test_half_a_character_at_the_end_is_no_utf8(tmp_path: Path) -> None:
    """A file that ends in the midst of a character still opens."""
    path = tmp_path / "contacts.csv"
    path.write_bytes(TEXT.encode() + "ë".encode()[:1])
    source = open_source(str(path))
    assert source.encoding == "cp1252"
    source.close()


def test_gzip_is_unpacked(tmp_path: Path) -> None:
    """A compressed file reads as what it holds; its progress counts compressed bytes."""
    path = tmp_path / "contacts.csv.gz"
    path.write_bytes(gzip.compress(TEXT.encode()))
    source = open_source(str(path))
    assert source.text.read() == TEXT
    assert source.position == source.size == path.stat().st_size
    source.close()


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads standard input."""
    stdin = io.TextIOWrapper(io.BytesIO(TEXT.encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    source = open_source("-")
    assert (source.kind, source.text.read()) == ("sheet", TEXT)
    source.close()


def test_ndjson_is_told_from_a_sheet(tmp_path: Path) -> None:
    """A file that begins with an object is NDJSON, whatever its name."""
    path = tmp_path / "calls.txt"
    path.write_text(' \n{"to_number": "+14155550123"}\n')
    source = open_source(str(path))
    source.close()
    assert source.kind == "ndjson"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b" \n\r\n", "is empty"),
        (b"PK\x03\x04" + bytes(100), "workbook"),
        (b"\xd0\xcf\x11\xe0" + bytes(100), "old Excel workbook"),
        (b"name,\x00phone" + b"x" * 100, "no text file"),
        (b'[{"to_number": "+14155550123"}]', "JSON array"),
        (b"\x1f\x8b\x08broken", "can't be unpacked"),
        (gzip.compress(TEXT.encode() * 100, mtime=0)[:-20], "can't be unpacked"),
    ],
)
def test_what_is_no_contact_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file that can't be read is refused with what it is and what to do."""
    path = tmp_path / "contacts.csv"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=reason):
        open_source(str(path))


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    """A file that is not there is the system's own error."""
    with pytest.raises(FileNotFoundError):
        open_source(str(tmp_path / "nothing.csv"))

"""What the command line prints: results on stdout, everything about them on stderr.

Tables are plain aligned columns that `grep` and `awk` can read. Colour only on a terminal, and
never with NO_COLOR.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}


def say(text: str = "") -> None:
    """A line of the result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """A line about the result, on stderr."""
    with reader_may_leave(sys.stdout):
        sys.stdout.flush()
    with reader_may_leave(sys.stderr):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


@contextmanager
def reader_may_leave(stream: TextIO) -> Iterator[None]:
    """Go on without `stream` once nobody reads it (`outdial up | head`); the block ends there."""
    try:
        yield
    except BrokenPipeError:
        drop(stream)


def drop(stream: TextIO) -> None:
    """What is written to `stream` from now on, and what it still holds, goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    # Its number stays the same: the interpreter flushes it once more when it ends.
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def complain(text: str) -> None:
    """The one line that says what went wrong."""
    one_line = " ".join(text.split())
    note(f"{styled('outdial:', 'red', stream=sys.stderr)} {one_line}")


def say_json(value: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """A result for a program: indented for a person's eyes, one line for a pipe."""
    indent = 2 if sys.stdout.isatty() else None
    say(json.dumps(value, ensure_ascii=False, indent=indent, default=str))


def colourful(stream: TextIO) -> bool:
    """Whether `stream` shows colour."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, *styles: str, stream: TextIO | None = None) -> str:
    """`text` in these styles where the stream (stdout) shows them."""
    if not colourful(stream or sys.stdout):
        return text
    codes = ";".join(_STYLES[style] for style in styles)
    return f"\033[{codes}m{text}\033[0m"


def say_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Aligned columns; numbers to the right. On a terminal the last column is cut to fit."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    right = [
        bool(rows) and all(row[i] is None or isinstance(row[i], int | float) for row in rows)
        for i in range(len(header))
    ]
    widths = [max(len(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
    width = room()
    for number, line in enumerate([[name.upper() for name in header], *cells]):
        text = "  ".join(
            cell.rjust(wide) if to_right else cell.ljust(wide)
            for cell, wide, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        text = fitted(text, width)
        say(styled(text, "dim") if number == 0 else text)


def say_facts(facts: Sequence[tuple[str, Any]], indent: str = "") -> None:
    """Names and values below each other; facts without a value are left out."""
    shown = [(name, value) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        say(f"{indent}{styled(name.ljust(width), 'dim')}  {value}")


def room() -> int:
    """Columns of the terminal; without one nothing is ever cut."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize


def fitted(text: str, width: int) -> str:
    """`text`, cut where it is wider than that."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def counted(number: int, noun: str) -> str:
    """`1 call`, `1,234 calls`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """`0.8 s`, `42 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"

"""A batch's body cut into its entries while it comes in: lines, or elements of an array.

A piece is one entry's raw JSON, or the problem with it. Entries are never parsed here, and at
most one is held.
"""

import re
from dataclasses import dataclass
from typing import Protocol

from outdial.http_common.bodies import MEGABYTE
from outdial.http_common.problems import Problem, ProblemError, malformed

MOST_LINES = 100_000
LONGEST_LINE = MEGABYTE

_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """Entry `line`, counted from 1: `body`, or `problem`."""

    line: int
    body: bytes = b""
    problem: Problem | None = None


class Splitter(Protocol):
    """Feed it chunks; when `over`, it takes no more."""

    line: int
    over: bool

    def feed(self, chunk: bytes) -> list[Piece]:
        """Entries that `chunk` completes."""
        ...

    def finish(self) -> list[Piece]:
        """What is left when the body ends."""
        ...


def too_many() -> Problem:
    """413: this entry and all after it were not read."""
    return Problem(413, f"more than {MOST_LINES} calls: this one and all after it were not read")


def _too_long() -> Problem:
    return Problem(413, f"the call is over {LONGEST_LINE} bytes")


class Lines:
    """NDJSON. Blank lines are counted and passed over."""

    def __init__(self) -> None:
        """At the first line."""
        self.line = 0
        self.over = False
        self._rest = bytearray()
        self._skipping = False

    def feed(self, chunk: bytes) -> list[Piece]:
        """See `Splitter`."""
        pieces: list[Piece] = []
        *whole, rest = chunk.split(b"\n")
        for text in whole:
            if self.over:
                return pieces
            self._end_line(text, pieces)
        self._keep(rest, pieces)
        return pieces

    def finish(self) -> list[Piece]:
        """See `Splitter`."""
        pieces: list[Piece] = []
        if not self.over:
            self._end_line(b"", pieces)
        return pieces

    def _end_line(self, text: bytes, pieces: list[Piece]) -> None:
        self._keep(text, pieces)
        line = self._rest
        if not self._skipping:
            self.line += 1
            if self.line == 1 and line.startswith(_BOM):
                del line[: len(_BOM)]
            body = bytes(line).strip(_SPACE)
            if body and self.line > MOST_LINES:
                self.over = True
                pieces.append(Piece(self.line, problem=too_many()))
            elif body:
                pieces.append(Piece(self.line, body))
        self._skipping = False
        self._rest = bytearray()

    def _keep(self, text: bytes, pieces: list[Piece]) -> None:
        if self._skipping:
            return
        self._rest += text
        if len(self._rest) > LONGEST_LINE:
            self.line += 1
            pieces.append(Piece(self.line, problem=_too_long()))
            self._skipping = True
            self._rest = bytearray()


_STRUCTURE = re.compile(rb'["\[\]{},]')
_IN_STRING = re.compile(rb'["\\]')


class Elements:
    """A JSON array. `line` counts its elements."""

    def __init__(self) -> None:
        """Before the opening bracket."""
        self.line = 0
        self.over = False
        self._opened = False
        self._closed = False
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._rest = bytearray()
        self._skipping = False

    def feed(self, chunk: bytes) -> list[Piece]:
        """See `Splitter`; raises the 400 where the body is no array at all."""
        pieces: list[Piece] = []
        start = 0
        if not self._opened:
            start = self._open(chunk)
        position = start
        while position < len(chunk) and not self.over:
            if self._closed:
                self._after_close(chunk[position:], pieces)
                return pieces
            if self._in_string:
                position = self._through_string(chunk, position)
                continue
            found = _STRUCTURE.search(chunk, position)
            if found is None:
                break
            position = found.end()
            if self._is_boundary(found[0]):
                self._end_element(chunk[start : position - 1], found[0], pieces)
                start = position
        if not self._closed and not self.over:
            self._keep(chunk[start:], pieces)
        return pieces

    def finish(self) -> list[Piece]:
        """See `Splitter`."""
        if not self._opened:
            raise ProblemError(malformed("the body is not a JSON array: it is empty"))
        if self._closed or self.over:
            return []
        if not self._skipping:
            self.line += 1
        problem = malformed("the array is not closed: the body ends in the middle of it")
        return [Piece(self.line, problem=problem)]

    def _open(self, chunk: bytes) -> int:
        self._rest += chunk
        begun = bytes(self._rest).removeprefix(_BOM).lstrip(_SPACE)
        if not begun or (len(self._rest) < len(_BOM) and _BOM.startswith(self._rest)):
            if len(self._rest) > LONGEST_LINE:
                raise ProblemError(malformed("the body is not a JSON array"))
            return len(chunk)
        if not begun.startswith(b"["):
            raise ProblemError(malformed("the body is not a JSON array: it starts otherwise"))
        self._opened = True
        self._rest = bytearray()
        return len(chunk) - len(begun) + 1

    def _is_boundary(self, token: bytes) -> bool:
        if token == b'"':
            self._in_string = True
        elif token in b"[{":
            self._depth += 1
        elif self._depth > 0:
            self._depth -= token != b","
        else:
            return token in b",]"
        return False

    def _through_string(self, chunk: bytes, position: int) -> int:
        if self._escaped:
            self._escaped = False
            return position + 1
        found = _IN_STRING.search(chunk, position)
        if found is None:
            return len(chunk)
        self._escaped = found[0] == b"\\"
        self._in_string = self._escaped
        return found.end()

    def _end_element(self, text: bytes, token: bytes, pieces: list[Piece]) -> None:
        self._keep(text, pieces)
        self._closed = token == b"]"
        if not self._skipping:
            body = bytes(self._rest).strip(_SPACE)
            if body or not (self._closed and self.line == 0):
                self.line += 1
                if self.line > MOST_LINES:
                    self.over = True
                    pieces.append(Piece(self.line, problem=too_many()))
                elif body:
                    pieces.append(Piece(self.line, body))
                else:
                    problem = malformed("an element of the array is missing")
                    pieces.append(Piece(self.line, problem=problem))
        self._skipping = False
        self._rest = bytearray()

    def _after_close(self, rest: bytes, pieces: list[Piece]) -> None:
        if rest.strip(_SPACE):
            self.over = True
            self.line += 1
            problem = malformed("something follows the array")
            pieces.append(Piece(self.line, problem=problem))

    def _keep(self, text: bytes, pieces: list[Piece]) -> None:
        if self._skipping:
            return
        self._rest += text
        if len(self._rest) > LONGEST_LINE:
            self.line += 1
            pieces.append(Piece(self.line, problem=_too_long()))
            self._skipping = True
            self._rest = bytearray()

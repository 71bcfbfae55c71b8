"""JSON from outside, read so that nothing in it stops a stage: depth, digits, odd characters.

What a platform signed is an event even where a strict reader would refuse it; and what is kept
of it has to fit every database and every encoder we use.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

#: Nobody nests deeper on purpose; no JSON library overflows its stack at it.
MAX_DEPTH = 64
#: Beyond this a float holds no more numbers, and every integer below fits one.
_MAX_NUMBER = 10**300
#: Longer runs of digits are too many for `int` at its default limit, or for any column.
_MAX_DIGITS = 300

#: NUL is no text to PostgreSQL, half a surrogate pair none to UTF-8.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
#: A JSON string (closed or not), a bracket, or a run of anything else.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]|[^"\[\]{}]+', re.DOTALL)


def decode_object(body: bytes) -> dict[str, Any] | None:
    """Decode a raw body; None where it is no JSON object in UTF-8. Never raises.

    What is nested beyond `MAX_DEPTH` may be read as null, integers beyond what Python converts
    as floats.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError):
        try:
            decoded = json.loads(_pruned(text), parse_int=_lenient_int)
        except ValueError:
            return None
    return decoded if isinstance(decoded, dict) else None


def clean(text: str) -> str:
    """The text with what no database stores replaced by U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def number(value: object) -> float | None:
    """A finite number, or None. NaN and infinities are no JSON, but lenient readers let them in."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _MAX_NUMBER else None


def storable(value: object, depth: int = 0) -> Any:  # noqa: ANN401 - JSON in, JSON out
    """JSON that every database and encoder takes: clean text, 64-bit integers, finite floats."""
    match value:
        case bool() | None:
            return value
        case str():
            return clean(value)
        case int() if -(2**63) <= value < 2**63:
            return value
        case int() | float():
            return number(value)
        case Mapping() if depth < MAX_DEPTH:
            return {
                clean(key): storable(inner, depth + 1)
                for key, inner in value.items()
                if isinstance(key, str)
            }
        case list() if depth < MAX_DEPTH:
            return [storable(inner, depth + 1) for inner in value]
        case _:
            return None


def _pruned(text: str) -> str:
    """The same JSON with every container beyond `MAX_DEPTH` replaced by null."""
    kept: list[str] = []
    depth = 0
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if piece in "[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept.append("null")
        if depth <= MAX_DEPTH:
            kept.append(piece)
        if piece in "]}":
            depth -= 1
    return "".join(kept)


def _lenient_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)

"""A row's digest: two stores that hold the same row give the same one.

What is hashed is a text that SQL can write as well: the columns in their order, a mark for null,
whole millionths for floats. `analytics.digests` writes the same in SQL.
"""

import hashlib
from collections.abc import Mapping

#: Between columns, and in place of null; in no stored text, which is free of control characters.
SEPARATOR = "\x1f"
NULL = "\x1e"
#: Beyond it a float is only known to be large: its millionths would not fit 64 bits.
LARGE = 1e12
MILLION = 1_000_000


def row_digest(columns: Mapping[str, str], row: Mapping[str, object]) -> str:
    """MD5, in hexadecimal. `columns`: kinds by name, as `ports.warehouse` has them.

    JSON columns must come as the text that is stored.
    """
    text = SEPARATOR.join(_cell(kind, row[name]) for name, kind in columns.items())
    return hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def _cell(kind: str, value: object) -> str:
    if value is None:
        return NULL
    if isinstance(value, bool):
        return "true" if value else "false"
    if kind == "float" and isinstance(value, int | float):
        return str(_millionths(float(value))) if abs(value) < LARGE else "large"
    return str(value)


def _millionths(value: float) -> int:
    # As SQL's floor, which rounds down.
    return int((value * MILLION + 0.5) // 1)

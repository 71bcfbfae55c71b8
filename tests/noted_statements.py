"""The SQL that runs, noted as it goes to the driver."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event


@contextmanager
def noted_statements() -> Iterator[dict[str, Any]]:
    """Every statement that runs in the block, with the parameters of one of its runs."""
    seen: dict[str, Any] = {}

    def note(
        _connection: Any,
        _cursor: Any,
        statement: str,
        parameters: Any,
        _context: Any,
        executemany: bool,  # noqa: FBT001 - SQLAlchemy calls it so
    ) -> None:
        seen[statement] = parameters[0] if executemany else parameters

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)

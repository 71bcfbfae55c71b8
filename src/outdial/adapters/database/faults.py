"""SQLAlchemy's and the drivers' errors, translated: outside this folder only ours are known."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from outdial.errors import Unavailable

#: PostgreSQL: serialization failure and deadlock; the transaction certainly did not happen.
_TRY_AGAIN = frozenset({"40001", "40P01"})
#: Two that wrote the same key at once: run again, the later one sees the other's row.
_LOST_RACE = _TRY_AGAIN | {"23505"}
#: PostgreSQL: what passes by itself or by mending the server; connection, resources, shutdown,
#: a standby, a password or a database that is not there (yet), a lock that somebody holds.
_PASSING = ("08", "53", "57", "58", "25006", "28", "55P03", "3D", *sorted(_TRY_AGAIN))

DATABASE = "database"


def certainly_undone(error: BaseException) -> bool:
    """Whether the transaction can be run again at once: it lost a race and was rolled back."""
    return isinstance(error, DBAPIError) and _sqlstate(error) in _LOST_RACE


def locked_out(error: BaseException) -> bool:
    """Whether somebody held what was to be locked for too long."""
    return isinstance(error, DBAPIError) and _sqlstate(error) == "55P03"


def demoted(error: BaseException) -> bool:
    """Whether the server only reads: it was the primary before a failover, or never was."""
    return isinstance(error, DBAPIError) and _sqlstate(error) == "25006"


def may_pass(error: BaseException) -> bool:
    """Whether the fault is the database's state rather than the statement's."""
    if isinstance(error, OSError | TimeoutError | asyncio.TimeoutError):
        return True
    if not isinstance(error, SQLAlchemyError):
        return False
    if isinstance(error, DBAPIError):
        state = _sqlstate(error)
        if error.connection_invalidated or (state or "").startswith(_PASSING):
            return True
        return isinstance(error, OperationalError | InterfaceError) and state is None
    # The pool's own time-out, a connection that is gone.
    return True


@contextmanager
def translated() -> Iterator[None]:
    """Raise `Unavailable` for what may pass; a programming error stays what it is."""
    try:
        yield
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        if not may_pass(error):
            raise
        raise Unavailable(DATABASE, one_line(error)) from error


def one_line(error: BaseException) -> str:
    """The driver's own words without the statement, its parameters or an address."""
    origin = getattr(error, "orig", None) or error
    words = str(origin).strip() or type(origin).__name__
    return words.splitlines()[0].removeprefix("<class ")


def _sqlstate(error: DBAPIError) -> str | None:
    origin = error.orig
    state = getattr(origin, "sqlstate", None) or getattr(origin, "pgcode", None)
    return state if isinstance(state, str) else None

"""SQLite's errors in the words of a person who has to mend them."""

import sqlite3
from pathlib import Path

_REMEDIES = {
    "SQLITE_FULL": "the disk that holds {path} is full; free some space",
    "SQLITE_BUSY": "another process keeps {path} locked",
    "SQLITE_LOCKED": "another process keeps {path} locked",
    "SQLITE_CORRUPT": "{path} is damaged; stop, move it away and restore it or start without it",
    "SQLITE_NOTADB": "{path} is no queue file; move it away or set another folder",
    "SQLITE_CANTOPEN": "{path} can't be opened; its folder must exist and be writable",
    "SQLITE_READONLY": "{path} is not writable; give this user the right to write to it",
    "SQLITE_IOERR": "reading or writing {path} failed; look at the disk",
}


def is_busy(error: sqlite3.Error | OSError) -> bool:
    """Whether another connection is in the way just now."""
    return _name(error) in {"SQLITE_BUSY", "SQLITE_LOCKED"}


def explain(error: sqlite3.Error | OSError, path: Path) -> str:
    """One line: what is wrong with the file at `path` and how to mend it."""
    if isinstance(error, OSError):
        return f"{path} can't be opened ({error.strerror}); its folder must exist and be writable"
    remedy = _REMEDIES.get(_name(error))
    return remedy.format(path=path) if remedy else f"{path}: {error}"


def _name(error: sqlite3.Error | OSError) -> str:
    # Extended codes (SQLITE_IOERR_FSYNC, SQLITE_BUSY_RECOVERY) begin with the primary one's name.
    return "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])

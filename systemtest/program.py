"""The program as child processes: started, interrupted, killed; known only by what it prints."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

#: The console script of the environment that the tests run in.
OUTDIAL = Path(sys.executable).with_name("outdial")
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0


class DiedError(AssertionError):
    """The program ended when it should have run; the text ends with what it said."""


class Program:
    """`outdial ARGUMENTS`, running; `ready` is the line of JSON with which it says so."""

    def __init__(self, home: Path, environment: Mapping[str, str], *arguments: str) -> None:
        """Returns at once. `home`: `OUTDIAL_HOME`; what it says is kept beside it."""
        self.name = " ".join(arguments[:2])
        log = _fresh(home.parent, arguments)
        self._said = log.with_suffix(".out")
        self._log = log.with_suffix(".err")
        with self._said.open("wb") as said, self._log.open("wb") as logged:
            self._process = subprocess.Popen(
                [str(OUTDIAL), *arguments],
                env=_environment(home, environment),
                cwd=home.parent,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=logged,
                # A Ctrl-C for the tests is not one for the program.
                start_new_session=True,
            )
        self._ready: dict[str, Any] | None = None

    @property
    def ready(self) -> dict[str, Any]:
        """What it said once it was ready; waits for that. `DiedError` where it never is."""
        if self._ready is None:
            self._ready = self._first_line()
        return self._ready

    @property
    def is_ready(self) -> bool:
        """Whether it has said so by now."""
        return self._ready is not None or b"\n" in self._said.read_bytes()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """What it wrote to stderr."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """SIGKILL: it gets to do nothing more."""
        self._process.kill()
        self._process.wait(_STOP_SECONDS)

    def interrupt(self) -> int:
        """Ctrl-C; waits for its end and gives the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(_STOP_SECONDS)

    def end(self) -> None:
        """Whatever state it is in, it runs no more."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def _first_line(self) -> dict[str, Any]:
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            said, end, _ = self._said.read_text(encoding="utf-8").partition("\n")
            if end:
                ready: dict[str, Any] = json.loads(said)
                return ready
            if not self.running:
                break
            time.sleep(0.02)
        code = self._process.poll()
        self.end()
        raise DiedError(f"{self.name} is not ready (exit code {code}):\n{self.log[-4000:]}")


def run(
    home: Path,
    environment: Mapping[str, str],
    *arguments: str,
    codes: Collection[int] = (0,),
    seconds: float = _START_SECONDS,
) -> str:
    """Run `outdial ARGUMENTS` to its end and give what it printed; it has to end with `codes`."""
    done = subprocess.run(
        [str(OUTDIAL), *arguments],
        env=_environment(home, environment),
        cwd=home.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode not in codes:
        raise DiedError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def _environment(home: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Nothing of whoever runs the tests reaches the program, but where coverage is measured.

    What is empty in `environment` is left out.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in {"PATH", "LANG", "TMPDIR"} or name.startswith("COVERAGE_")
    }
    wanted = kept | {"HOME": str(home.parent), "OUTDIAL_HOME": str(home)} | dict(environment)
    return {name: value for name, value in wanted.items() if value}


def _fresh(folder: Path, arguments: tuple[str, ...]) -> Path:
    words = "-".join(word for word in arguments[:2] if not word.startswith("-"))
    number = len(list(folder.glob(f"{words}.*.out"))) + 1
    return folder / f"{words}.{number}.out"

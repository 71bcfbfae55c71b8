"""The command line on a terminal: bars, colours, and Ctrl-C."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.flow.program import PATIENCE, Program

PORTS = [f"--{name}-port=0" for name in ("internal-api", "webhook", "web-api", "simulator")]


class Terminal:
    """A command on a terminal of 80 columns."""

    def __init__(self, program: Program, *arguments: str) -> None:
        """Start it."""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        self.process = subprocess.Popen(
            program.command(*arguments),
            cwd=program.folder,
            env=program.environment({"TERM": "xterm-256color"}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self.shown = ""

    def until(self, text: str) -> str:
        """Read until `text` is shown."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if not self._read():
                raise AssertionError(self.shown)
        return self.shown

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """Let go of it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], PATIENCE)
        try:
            data = os.read(self._master, 65_536) if ready else b""
        except OSError:
            # Linux's way to say that nobody has the other end any more.
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)


@contextmanager
def on_terminal(program: Program, *arguments: str) -> Iterator[Terminal]:
    """A command on a terminal while the block lasts."""
    terminal = Terminal(program, *arguments)
    try:
        yield terminal
    finally:
        terminal.close()


def plain(shown: str) -> str:
    """What is shown, without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


def people(folder: Path, count: int) -> None:
    """A file of contacts."""
    rows = "".join(f"P{i},+1415555{i:04}\n" for i in range(count))
    (folder / "people.csv").write_text("name,phone\n" + rows)


def test_the_demo_stays_on_a_terminal_until_control_c(tmp_path: Path) -> None:
    """It shows bars while calls go on, then the proof and the dashboard, and ends well."""
    people(tmp_path, 30)
    with on_terminal(Program(tmp_path), "demo", "people.csv", "--speed=200") as terminal:
        shown = terminal.until("Stop with Ctrl-C.")
        terminal.interrupt()
        assert terminal.end() == 0
    assert "\x1b[1mOutdial's demo dials the simulator: no phone rings." in shown
    assert "━" in shown
    assert "30 = 30 = 30" in shown
    assert re.search(r"Dashboard +http://127\.0\.0\.1:\d+/login\?token=", plain(shown))
    assert "✗" not in shown


def test_a_demo_that_is_interrupted_says_so(tmp_path: Path) -> None:
    """Ctrl-C before the result is an interruption, and ends everything it started."""
    people(tmp_path, 300)
    with on_terminal(Program(tmp_path), "demo", "people.csv", "--speed=0.5") as terminal:
        terminal.until("━")
        terminal.interrupt()
        assert terminal.end() == 130
    assert "outdial:" in terminal.shown
    assert "interrupted" in terminal.shown
    assert "Traceback" not in terminal.shown


def test_up_says_what_it_dials_first_and_its_key_once(tmp_path: Path) -> None:
    """The first line is about telephones; an import beside it shows a bar."""
    program = Program(tmp_path)
    people(tmp_path, 200)
    with on_terminal(program, "up", *PORTS) as terminal:
        first = terminal.until("Stop with Ctrl-C.")
        with on_terminal(program, "import", "people.csv") as imported:
            assert imported.end() == 0
        listed = Terminal(program, "calls", "list", "-n", "3")
        assert listed.end() == 0
        listed.close()
        terminal.interrupt()
        assert terminal.end() == 0
    assert plain(first).startswith("Outdial dials the simulator: no phone rings")
    assert re.search(r"API key +od_\S+", plain(first))
    assert "Importing" in imported.shown
    assert max(len(row) for row in plain(listed.shown).splitlines()) <= 80
    with on_terminal(program, "up", *PORTS) as terminal:
        again = terminal.until("Stop with Ctrl-C.")
        terminal.interrupt()
        assert terminal.end() == 0
    assert "API key" not in again

"""The program itself, started as anybody starts it."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.request import urlopen

from outdial import cli

#: Seconds that one command may take on a busy machine.
PATIENCE = 120


@dataclass
class Program:
    """`outdial` in a folder of its own, with an environment of its own."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """OUTDIAL_HOME."""
        return self.folder / "home"

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """The tests' own, without a setting of whoever runs them."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OUTDIAL")}
        return {**kept, "OUTDIAL_HOME": str(self.home), **self.settings, **more}

    def run(self, *arguments: str, stdin: str = "", code: int = 0, **settings: str) -> "Done":
        """Run a command to its end in this process; `code` is the exit code it must have."""
        out, errors = io.StringIO(), io.StringIO()
        entered = io.TextIOWrapper(io.BytesIO(stdin.encode()))
        with (
            mock.patch.dict(os.environ, self.environment(settings), clear=True),
            mock.patch("sys.stdin", entered),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(errors),
        ):
            found = cli.run(arguments)
        assert found == code, f"{found}: {errors.getvalue()}"
        return Done(out.getvalue(), errors.getvalue())

    def finish(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end in a process of its own."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def json(self, *arguments: str, code: int = 0, **settings: str) -> Any:
        """The JSON that a command prints with `--json`."""
        return json.loads(self.run(*arguments, "--json", code=code, **settings).stdout)

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """Its command line."""
        return [sys.executable, "-c", "from outdial.cli import main; main()", *arguments]

    @contextmanager
    def started(self, *arguments: str, **settings: str) -> Iterator["Started"]:
        """Start a command that says one line of JSON when it is ready, and stop it at the end."""
        process = subprocess.Popen(
            self.command(*arguments, "--json"),
            cwd=self.folder,
            env=self.environment(settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            assert process.stderr is not None
            raise AssertionError(process.stderr.read())
        running = Started(process, json.loads(line))
        try:
            yield running
        finally:
            running.stop()


@dataclass(frozen=True)
class Done:
    """What a command wrote."""

    stdout: str
    stderr: str


@dataclass
class Started:
    """A process that has said that it is ready, and what it said."""

    process: "subprocess.Popen[str]"
    said: dict[str, Any]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Stop it; its exit code and what it wrote to stderr."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors

    def ask(self, service: str, path: str) -> Any:
        """JSON that one of its services answers, without a key."""
        with urlopen(self.said["urls"][service] + path, timeout=PATIENCE) as answer:
            return json.load(answer)

    def dialed(self) -> list[str]:
        """The numbers that the simulator really dialed, each as often as it did."""
        return [
            item["to_number"] for item in self.ask("simulator", "/sim/dials?limit=1000")["items"]
        ]

"""The command line by itself: help, version, usage, errors, and the pages made from it."""

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.core import TyperGroup

from outdial import config
from outdial.cli import app
from outdial.cli.configuration_page import page
from outdial.cli.output import duration, fitted, say_facts, say_table
from outdial.cli.up import named_port, what_it_dials
from outdial.config import Settings
from tests.flow.program import Program

#: Loaded by no command before it is run.
HEAVY = (
    "aiohttp",
    "asyncio",
    "duckdb",
    "fastapi",
    "phonenumbers",
    "pydantic",
    "retell",
    "rich",
    "sqlalchemy",
)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The program in an empty folder."""
    return Program(tmp_path)


def commands() -> list[tuple[str, ...]]:
    """Every command and family, as it is typed."""
    found: list[tuple[str, ...]] = [()]
    for name, command in app.build().commands.items():
        found.append((name,))
        if isinstance(command, TyperGroup):
            found += [(name, verb) for verb in command.commands]
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_explains_itself(program: Program, command: tuple[str, ...]) -> None:
    """`--help` says what a command does, and each of its options what it is for."""
    told = program.run(*command, "--help").stdout
    assert told.startswith(f"Usage: {' '.join(('outdial', *command))} ")
    assert "\\b" not in told
    assert len(told.splitlines()) > 4
    assert not re.search(r"^  -[^\n]*[>A-Z]$(?!\n {10})", told, re.MULTILINE)


def test_help_loads_nothing_heavy() -> None:
    """`--help` is fast because no library is loaded before a command needs it."""
    code = (
        "import sys\nfrom outdial import cli\ncode = cli.run(['--help'])\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_the_version_is_the_packages(program: Program) -> None:
    """`--version` is one line."""
    assert re.fullmatch(r"outdial \d+\.\d+\.\d+\S*\n", program.run("--version").stdout)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nonsense",), "No such command 'nonsense'; see `outdial --help`"),
        (("import",), "Missing argument 'FILE'; see `outdial import --help`"),
        (("call", "12"), "see `outdial call --help`"),
        (("call", "+14155550123", "--var", "x"), "must be NAME=VALUE"),
        (("call", "0171 555", "--region", "XX"), "XX is no country code"),
        (("import", "-", "--region", "XX"), "XX is no country code"),
        (("import", "-", "--map", "phone"), "must be COLUMN=FIELD"),
        (("serve", "everything"), "everything is none of internal-api"),
        (("serve", "relay", "--speed", "2"), "the simulator's alone"),
        (("keys", "create", "--scope", "all"), "all is none of calls:write"),
        (("events", "replay", "--since", "yesterday"), "write 2026-11-22T16:00:00Z"),
        (("dlq", "list", "letters"), "letters is none of calls, events, activity"),
        (("up", "--speed", "0"), "'--speed': must be greater than or equal to 0.01; see `outdial"),
        (("calls", "list", "-n", "x"), "must be a valid integer"),
    ],
)
def test_wrong_usage_is_one_line_and_two(
    program: Program, arguments: tuple[str, ...], told: str
) -> None:
    """Wrong usage is exit code 2 with one line that says what is right."""
    done = program.run(*arguments, code=2)
    assert told in done.stderr
    assert done.stderr.startswith("outdial: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_family_alone_shows_what_there_is(program: Program) -> None:
    """`outdial keys` lists its commands, and is wrong usage."""
    assert "revoke" in program.run("keys", code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "settings", "told"),
    [
        (("import", "nothing.csv"), {}, "nothing.csv: No such file or directory"),
        (("calls", "list"), {"OUTDIAL_API_URL": "localhost"}, "not an http:// or https:// address"),
        (("calls", "list"), {"OUTDIAL_DIAL_RAET": "5"}, "unknown variable OUTDIAL_DIAL_RAET"),
        (("up",), {"OUTDIAL_DIAL_RATE": "fast"}, "OUTDIAL_DIAL_RATE"),
        (("keys", "list"), {"OUTDIAL_DATABASE_URL": "mysql://x/y"}, "mysql"),
        (("keys", "list"), {}, "run `outdial db upgrade`"),
        (("up",), {"OUTDIAL_HOME": "/dev/null/home"}, "set it to another folder"),
        (("up",), {"OUTDIAL_HOME": "/proc/x"}, "OUTDIAL_HOME /proc/x can't be made: "),
        (("keys", "list"), {"OUTDIAL_HOME": "/proc/x"}, "OUTDIAL_HOME /proc/x can't be made: "),
        (("serve", "simulator"), {"OUTDIAL_HOME": "/proc/x"}, "/proc/x can't be made: "),
        (
            ("calls", "show", "nothing"),
            {"OUTDIAL_API_URL": "http://127.0.0.1:9"},
            "no answer from http://127.0.0.1:9: connection refused; is it running?",
        ),
    ],
)
def test_what_is_wrong_is_one_line_and_one(
    program: Program, arguments: tuple[str, ...], settings: dict[str, str], told: str
) -> None:
    """What can't be done is exit code 1 with one line that says what to mend; no traceback."""
    done = program.run(*arguments, code=1, **settings)
    assert told in done.stderr
    assert done.stderr.startswith("outdial: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("keys", "revoke", "x"), "there is no key x; see `outdial keys list`"),
        (("dlq", "show", "events", "x"), "there is no dead letter x in events"),
        (("dlq", "show", "activity", "x"), "there is no dead letter x in activity"),
        (("dlq", "redrive", "events", "x", "y"), "there is no dead letter x, y in events"),
        (("dlq", "redrive", "activity", "x"), "there is no dead letter x in activity"),
        (("events", "replay", "--call", "x"), "there is no call x; see `outdial calls list`"),
    ],
)
def test_an_id_that_is_unknown_is_one_line_and_one(
    program: Program, arguments: tuple[str, ...], told: str
) -> None:
    """What is not there is no wrong usage: exit code 1, one line, and nothing on stdout."""
    program.run("db", "upgrade")
    done = program.run(*arguments, code=1)
    assert done.stderr.startswith(f"outdial: {told}")
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)


@pytest.mark.parametrize("arguments", [("calls", "show", "x"), ("pause",), ("import", "one.csv")])
@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"<html>", "it answers HTTP 404"),
        (401, b"{}", "it answers HTTP 401"),
        (404, b"ours", "it answers HTTP 404"),
        (200, b"<html>", "it answers with something else than its JSON"),
    ],
)
def test_a_server_that_is_another_is_told_as_such(
    program: Program, arguments: tuple[str, ...], status: int, body: bytes, said: str
) -> None:
    """A URL that leads elsewhere, be it to a service of ours, is told with the setting to mend."""
    (program.folder / "one.csv").write_text("phone\n+14155550123\n", encoding="utf-8")

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            detail = f"there is nothing at {self.path}"
            told = json.dumps({"type": "urn:outdial:problem:not-found", "detail": detail}).encode()
            sent = told if body == b"ours" else body
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_POST = do_GET  # noqa: N815 - named by the standard library

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        done = program.run(*arguments, code=1, OUTDIAL_API_URL=url)
        server.shutdown()
    if arguments[0] == "import" and status == 200:
        said = "the answers do not match the calls sent"
    else:
        said = f"{url} does not look like the Voice API: {said}"
    assert f"outdial: {said}; set OUTDIAL_API_URL to where it runs\n" in done.stderr


def test_the_database_is_upgraded_once(program: Program) -> None:
    """`db upgrade` says what it ran; again it runs nothing, and keys can be made."""
    assert program.json("db", "upgrade")["migrations"]
    assert program.json("db", "upgrade") == {"migrations": []}
    assert "No key yet" in program.run("keys", "list").stderr
    assert program.json("keys", "create")["tenant"] == "default"
    program.run("warehouse", "upgrade")
    assert program.json("warehouse", "rebuild") == {"loaded": 0}


def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(program: Program) -> None:
    """A sink that is down, a database behind and a wrong key are all told at once."""
    told = program.json(
        "doctor",
        code=1,
        OUTDIAL_ACTIVITY_SINK_URL="http://127.0.0.1:1/events",
        OUTDIAL_RETELL_API_KEY="key_x",
        OUTDIAL_RETELL_BASE_URL="http://127.0.0.1:1",
    )
    faults = {check["name"] for check in told["checks"] if check["state"] == "fault"}
    assert faults == {"activity sink", "voice platform"}
    shown = program.run("doctor", code=1, OUTDIAL_DATABASE_URL="nonsense")
    assert "fault" in shown.stdout
    shown = program.run("doctor", code=1, OUTDIAL_DIAL_RATE="fast")
    assert "configuration" in shown.stdout


def test_the_doctor_is_content_with_an_empty_folder(program: Program) -> None:
    """Nothing is wrong before the first start, and looking makes nothing."""
    assert program.json("doctor")["ok"]
    assert not program.home.exists()


def test_the_first_line_says_whether_phones_ring() -> None:
    """Simulator, another address, or Retell: nobody is left to wonder."""
    assert "no phone rings" in what_it_dials(config.load())
    other = config.load(retell_api_key="k", retell_base_url="http://127.0.0.1:8004")
    assert "http://127.0.0.1:8004" in what_it_dials(other)
    assert "phones will ring" in what_it_dials(config.load(retell_api_key="k"))


def test_a_port_in_use_names_its_option() -> None:
    """The remedy names the option of the very service whose port is taken."""
    told = named_port("port 8003 is in use; choose another with --port", {"web-api": 8003})
    assert told.endswith("with --web-api-port")
    assert named_port("no port at all", {"web-api": 8003}) == "no port at all"


def test_the_configuration_page_is_current() -> None:
    """`docs/configuration.md` is what the settings make it: `make docs` writes it."""
    written = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert written.read_text(encoding="utf-8") == page()
    assert all(f"`OUTDIAL_{name.upper()}`" in page() for name in Settings.model_fields)
    assert "## More" not in page()


def test_tables_are_aligned_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """Away from a terminal nothing is cut off, so that a program can read it."""
    say_table(["id", "count"], [["a" * 200, 1], ["b", 100], [None, None]])
    say_facts([("name", "x"), ("nothing", None)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{'ID':200}  COUNT"
    assert lines[2] == f"{'b':200}    100"
    assert lines[-1] == "name  x"
    assert fitted("abcdef", 4) == "abc…"


def test_durations_are_told_as_people_do() -> None:
    """Seconds up to a minute, then minutes, then hours."""
    told = [duration(seconds) for seconds in (0.84, 42, 185, 7_800)]
    assert told == ["0.8 s", "42 s", "3 min 5 s", "2 h 10 min"]


def test_control_c_is_one_line(program: Program) -> None:
    """Ctrl-C ends a command with 130 and one line."""
    listening = (
        "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen();"
        "print(s.getsockname()[1], flush=True); c, _ = s.accept(); c.recv(1);"
        "print('asked', flush=True); input()"
    )
    silent = subprocess.Popen(
        [sys.executable, "-c", listening],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert silent.stdout is not None
    port = silent.stdout.readline().strip()
    asking = subprocess.Popen(
        program.command("calls", "list"),
        cwd=program.folder,
        env=program.environment({"OUTDIAL_API_URL": f"http://127.0.0.1:{port}"}),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert silent.stdout.readline() == "asked\n"
    os.kill(asking.pid, 2)
    _, told = asking.communicate(timeout=60)
    silent.communicate("")
    assert (asking.returncode, told) == (130, "outdial: interrupted\n")

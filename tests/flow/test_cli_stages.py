"""Every stage in a process of its own: messages and tables are their only link."""

import contextlib
import socket
from pathlib import Path

import pytest

from outdial.cli.up import refuse_twice
from tests.flow.program import Program

_FREE = ("--internal-api-port=0", "--webhook-port=0", "--web-api-port=0")
WORKERS = ("call-processor", "webhook-processor", "relay", "reconciler")


def test_a_call_goes_the_whole_way_through_processes_of_their_own(tmp_path: Path) -> None:
    """Eight processes on one home carry a call from the API to the warehouse."""
    settings = {
        "OUTDIAL_RETELL_API_KEY": "key_simulator",
        "OUTDIAL_DEFAULT_FROM_NUMBER": "+14155550100",
    }
    program = Program(tmp_path, settings)
    program.run("db", "upgrade")
    key = program.json("keys", "create", "--scope=admin")["key"]
    with contextlib.ExitStack() as stack:

        def started(*arguments: str, **more: str) -> dict[str, str]:
            running = program.started("serve", *arguments, "--port=0", **more)
            return stack.enter_context(running).said

        entry = started("webhook")["url"]
        simulator = started("simulator", "--speed=200", f"--webhook-url={entry}/webhooks/retell")[
            "simulator"
        ]
        retell = {"OUTDIAL_RETELL_BASE_URL": simulator}
        api = started("internal-api")["url"]
        web = started("web-api")
        for worker in WORKERS:
            assert started(worker, **retell)["stage"] == worker
        client = {"OUTDIAL_API_URL": api, "OUTDIAL_API_KEY": key, **retell}
        call = program.json("call", "+14155550123", **client)
        assert call["status"] in {"completed", "failed"}
        assert call["attempts"][0]["retell_call_id"]
        assert program.json("warehouse", "upgrade", **client)["owner"] == web["url"]
        assert program.json("warehouse", "rebuild", **client)["loaded"] >= 2
        assert program.json("doctor", **client)["ok"]
    assert not (program.home / "web-api.json").exists()


@pytest.mark.parametrize("stage", ["internal-api", *WORKERS])
def test_a_stage_without_its_database_says_what_to_run(tmp_path: Path, stage: str) -> None:
    """Before `db upgrade` a stage ends at once, with the command that mends it."""
    done = Program(tmp_path).finish("serve", stage, "--port=0", OUTDIAL_RETELL_API_KEY="key_x")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("run `outdial db upgrade`")


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    """The second one on a port is told which option chooses another."""
    program = Program(tmp_path)
    program.run("db", "upgrade")
    with program.started("serve", "internal-api", "--port=0") as first:
        port = first.said["url"].rpartition(":")[2]
        done = program.finish("serve", "web-api", f"--port={port}")
        up = program.finish("up", f"--internal-api-port={port}", "--webhook-port=0",
                            "--web-api-port=0", "--simulator-port=0")  # fmt: skip
    assert (done.returncode, up.returncode) == (1, 1)
    assert done.stderr == f"outdial: port {port} is in use; choose another with --port\n"
    told = f"outdial: port {port} is in use; choose another with --internal-api-port\n"
    assert up.stderr == told


def test_the_simulators_port_in_use_names_its_option(tmp_path: Path) -> None:
    """The simulator is a process of its own; its port is an option of `up` all the same."""
    program = Program(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = program.finish("up", *_FREE, f"--simulator-port={port}")
    assert done.returncode == 1
    told = f"outdial: port {port}: address already in use; choose another with --simulator-port\n"
    assert done.stderr == told


def test_a_port_given_twice_is_refused(tmp_path: Path) -> None:
    """Both options are named; the simulator's counts only where it is started."""
    program = Program(tmp_path)
    told = program.run("up", "--webhook-port=8004", code=2).stderr
    assert "--webhook-port and --simulator-port are both 8004" in told
    told = program.run("up", "--web-api-port=9", "--webhook-port=9", code=2).stderr
    assert "--webhook-port and --web-api-port are both 9" in told
    refuse_twice({"webhook": 0, "web-api": 0})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:hushhush@127.0.0.1:1/db", "postgresql://ann:***@127.0.0.1:1/db"),
        ("sqlite:///nowhere/x.db", "sqlite:///nowhere/x.db"),
    ],
)
def test_a_database_that_does_not_answer_is_named(tmp_path: Path, url: str, shown: str) -> None:
    """`db upgrade`, `up` and `doctor` say which setting it is, and never its password."""
    program = Program(tmp_path, {"OUTDIAL_DATABASE_URL": url})
    told = program.run("db", "upgrade", code=1).stderr
    assert f"OUTDIAL_DATABASE_URL: {shown} must " in told
    assert told.count("\n") == 1
    assert "hushhush" not in told
    done = program.finish("up", *_FREE, "--simulator-port=0")
    assert done.returncode == 1
    assert done.stderr.partition("; ")[2] == told.partition("; ")[2]
    found = program.json("doctor", code=1)["checks"]
    (check,) = [each for each in found if each["name"] == "database"]
    assert check["state"] == "fault"
    assert f"OUTDIAL_DATABASE_URL: {shown} must " in check["mend"]
    assert "hushhush" not in str(found)

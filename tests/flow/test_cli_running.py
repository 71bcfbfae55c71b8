"""The command line against everything running: `up`, and what is done while it runs."""

import asyncio
import json
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from outdial import bootstrap, config
from outdial.cli import home
from outdial.core.times import parse_rfc3339, to_rfc3339
from outdial.ports.queue import Outgoing
from tests.flow.program import PATIENCE, Done, Program, Started

PORTS = [f"--{name}-port=0" for name in ("internal-api", "webhook", "web-api", "simulator")]
UP = ("up", *PORTS, "--speed=200")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The program with its pace lifted."""
    settings = {"OUTDIAL_DIAL_RATE": "50", "OUTDIAL_MAX_CONCURRENT_CALLS": "200"}
    return Program(tmp_path_factory.mktemp("outdial"), settings)


@pytest.fixture(scope="module")
def up(program: Program) -> Iterator[Started]:
    """One `up` for all tests of this module."""
    with program.started(*UP) as running:
        yield running


def write(program: Program, name: str, text: str) -> str:
    """A file in the program's folder."""
    (program.folder / name).write_text(text, encoding="utf-8")
    return name


def test_up_says_where_it_is_and_keeps_its_key_to_itself(program: Program, up: Started) -> None:
    """`up --json` is one line with URLs and the first key, which only its owner can read."""
    assert up.said["dials"] == "simulator"
    assert set(up.said["urls"]) == {"internal-api", "webhook", "web-api", "simulator"}
    kept = program.home / "credentials.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text())["key"] == up.said["key"]["key"]
    assert json.loads((program.home / "run.json").read_text())["urls"] == up.said["urls"]


def test_what_up_keeps_is_for_its_owner(program: Program, up: Started) -> None:
    """Numbers and transcripts: no file that holds any can be read by another user."""
    assert up.said["ready"]
    kept = [path for ending in ("db*", "duckdb") for path in program.home.glob(f"*.{ending}")]
    assert {path.name for path in kept} >= {
        "outdial.db",
        "queue.db",
        "simulator.db",
        "warehouse.duckdb",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


def test_a_second_up_is_refused(program: Program, up: Started) -> None:
    """Two `up` on one home would fight over it: the second says which process has it."""
    refused = program.run(*UP, code=1)
    assert refused.stdout == ""
    assert refused.stderr.startswith("outdial: `outdial up` already runs on ")
    assert str(up.said["pid"]) in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_importing_again_places_nothing(program: Program, up: Started) -> None:
    """The same file, and the same file sorted otherwise, dial nobody a second time."""
    rows = [f"P{i},+1212555{i:04}" for i in range(120, 140)]
    first = write(program, "first.csv", "name,phone\n" + "\n".join(rows) + "\n")
    told = program.json("import", first, "--campaign", "again")
    assert (told["rows"], told["accepted"], told["replayed"]) == (20, 20, 0)
    told = program.json("import", first, "--campaign", "again")
    assert (told["accepted"], told["replayed"]) == (0, 20)
    longer = "phone;name\n" + "\n".join(
        ";".join(reversed(row.split(","))) for row in [*reversed(rows), "New,+12125550190"]
    )
    told = program.json("import", write(program, "longer.csv", longer), "--campaign", "again")
    assert (told["accepted"], told["replayed"], told["rejected"]) == (1, 20, 0)
    told = program.json("import", first, "--campaign", "next round", "--dry-run")
    assert told["accepted"] == 20
    dialed = _until_dialed(up, "+12125550190")
    assert all(dialed.count(f"+1212555{i:04}") == 1 for i in range(120, 140))


def test_bad_rows_come_back_and_are_placed_once_corrected(program: Program, up: Started) -> None:
    """A rejected file holds number and reason, and is imported like any other."""
    text = (
        "name;phone;slot\nAda;+13125550101;9\nBob;4.15556E+09;10\nCyd;;11\nAda B;+13125550101;12\n"
    )
    name = write(program, "bad.csv", text)
    told = program.json("import", name, "--campaign", "bad", code=1)
    assert (told["accepted"], told["rejected"], told["duplicates"]) == (1, 2, 1)
    rejected = program.folder / "bad.csv.rejected.csv"
    assert told["rejected_file"] == rejected.name
    lines = rejected.read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == "rejected_row;rejected_reason;name;phone;slot"
    assert lines[1].startswith("3;")
    assert "rounded" in lines[1]
    assert lines[1].endswith(";Bob;4.15556E+09;10")
    assert lines[2].startswith("4;no number;Cyd;")
    assert len(lines) == 3
    assert told["duplicates_file"] == "bad.csv.duplicates.csv"
    lines += (program.folder / told["duplicates_file"]).read_text("utf-8-sig").splitlines()[1:]
    assert lines[3].startswith("5;the same person as row 2")
    mended = lines[0] + "\n" + lines[1].replace("4.15556E+09", "+13125550102") + "\n"
    told = program.json("import", write(program, "mended.csv", mended), "--campaign", "bad")
    assert told["accepted"] == 1
    listed = program.json("calls", "list", "--campaign=bad")
    assert listed["next_cursor"] is None
    bob = next(call for call in listed["items"] if call["to_number"] == "+13125550102")
    assert bob["dynamic_variables"] == {"name": "Bob", "slot": "10"}
    _until_dialed(up, "+13125550102")


def test_a_changed_row_is_not_called_again(program: Program, up: Started) -> None:
    """A row that was placed before with other details is a duplicate; its phone stays silent."""
    first = write(program, "one.csv", "name,phone\nAda,+13125550110\n")
    program.json("import", first, "--campaign=changed")
    second = write(program, "one.csv", "name,phone\nAda L.,+13125550110\n")
    told = program.run("import", second, "--campaign=changed")
    assert "row 2: placed before with other details (call " in told.stderr
    assert "another campaign name or --allow-duplicates calls again" in told.stderr
    assert _until_dialed(up, "+13125550110").count("+13125550110") == 1


def test_a_file_sorted_otherwise_calls_nobody_again(program: Program, up: Started) -> None:
    """Which row of a person comes first decides what is said, once; the rest are duplicates."""
    rows = ["+13125550150,a", "+13125550150,b", "+13125550151,c"]
    sheet = "phone,id\n{}\n".format
    command = ("import", write(program, "two.csv", sheet("\n".join(rows))), "--campaign=two")
    told = program.json(*command)
    assert (told["accepted"], told["duplicates"], told["rejected"]) == (2, 1, 0)
    write(program, "two.csv", sheet("\n".join(reversed(rows))))
    told = program.json(*command)
    assert (told["accepted"], told["replayed"], told["duplicates"]) == (0, 2, 1)
    assert told["rejected_file"] is None
    # What was left out calls nobody when it is imported, and begins no chain of rejected files.
    kept = (program.folder / told["duplicates_file"]).read_text("utf-8-sig")
    assert "placed before with other details (external id a, call " in kept
    told = program.json("import", told["duplicates_file"], "--campaign=two")
    assert (told["accepted"], told["duplicates"], told["rejected_file"]) == (0, 1, None)
    for accepted in (1, 0):
        told = program.json(*command, "--allow-duplicates")
        assert (told["accepted"], told["replayed"]) == (accepted, 3 - accepted)
    assert _until_dialed(up, "+13125550151").count("+13125550151") == 1


def test_a_refused_row_shadows_none(program: Program, up: Started) -> None:
    """A good row is placed behind a refused one of the same number, in a check likewise."""
    assert up.said["ready"]
    text = "phone,expires_at\n+13125550155,2020-01-01T00:00:00Z\n+13125550155,\n"
    name = write(program, "behind.csv", text)
    for check in (("--dry-run",), ()):
        told = program.json("import", name, "--campaign=behind", *check, code=1)
        assert (told["accepted"], told["rejected"], told["duplicates"]) == (1, 1, 0)


def test_ndjson_rows_with_keys_of_their_own_are_calls(program: Program, up: Started) -> None:
    """An explicit key decides, whatever the number; the same key again is told in plain words."""
    assert up.said["ready"]
    lines = [{"to_number": "+13125550156", "idempotency_key": f"own-{i}"} for i in (1, 2)]
    text = "\n".join(map(json.dumps, lines))
    told = json.loads(program.run("import", "-", "--json", stdin=text).stdout)
    assert (told["accepted"], told["duplicates"]) == (2, 0)
    changed = json.dumps({**lines[0], "external_id": "x"})
    told = program.run("import", "-", stdin=changed)
    assert "another idempotency_key calls again" in told.stderr
    assert "#/" not in told.stderr


def test_ndjson_comes_from_standard_input(program: Program, up: Started) -> None:
    """`import -` reads bodies of the API, refuses unknown fields, and gives bad lines back."""
    lines = [
        {"to_number": "+13125550120", "metadata": {"job": 1}},
        {"to_number": "+13125550121", "colour": "red"},
    ]
    text = "\n".join(map(json.dumps, lines))
    done = program.run("import", "-", "--json", stdin=text, code=1)
    assert json.loads(done.stdout)["accepted"] == 1
    rejected = program.folder / "stdin.rejected.csv"
    assert "unknown field colour" in rejected.read_text(encoding="utf-8-sig")
    mended = rejected.read_text(encoding="utf-8-sig").replace(', ""colour"": ""red""', "")
    told = program.json("import", write(program, "mended.csv", mended))
    assert told["accepted"] == 1
    _until_dialed(up, "+13125550121")


def test_a_dry_run_judges_as_the_api_does(program: Program, up: Started) -> None:
    """`--dry-run` finds what the Voice API would refuse, and places nothing."""
    before = len(up.dialed())
    text = "phone,expires_at\n+13125550130,2020-01-01T00:00:00Z\n+13125550131,\n"
    told = program.json("import", write(program, "dry.csv", text), "--dry-run", code=1)
    assert (told["accepted"], told["rejected"]) == (1, 1)
    assert len(up.dialed()) == before


def test_one_call_is_followed_to_its_end(program: Program, up: Started) -> None:
    """`call` prints what happens as it happens, and ends with the outcome."""
    assert up.said["ready"]
    done = program.run("call", "(312) 555-0140", "--region=US", "--var=name=Ada", "--campaign=one")
    assert "accepted" in done.stdout
    assert "voice_call.initiated" in done.stdout
    assert done.stdout.splitlines()[
        -1 if "Ended" in done.stdout.splitlines()[-1] else -2
    ].startswith("Ended: ")
    told = program.json("call", "+13125550141", "--no-wait", "--metadata=job=7")
    assert told["metadata"] == {"job": "7"}
    shown = program.run("calls", "show", told["id"])
    assert "job=7" in shown.stdout


def test_the_stop_button_holds_and_lets_go(program: Program, up: Started) -> None:
    """A paused campaign dials nobody; its calls can be cancelled; `resume` goes on."""
    assert up.said["ready"]
    assert "campaign held" in program.run("pause", "--campaign=held").stdout
    (held,) = program.json("pause", "--campaign=held")["items"]
    assert to_rfc3339(parse_rfc3339(held["since"])) == held["since"]
    call = program.json("call", "+13125550170", "--campaign=held", "--no-wait")
    assert "is cancelled" in program.run("calls", "cancel", call["id"]).stdout
    assert program.json("calls", "cancel", call["id"])["status"] == "cancelled"
    assert program.json("resume")["items"] == []
    listed = program.run("calls", "list", "--status=cancelled")
    assert call["id"] in listed.stdout
    assert "+13125550170" not in up.dialed()


def test_keys_are_made_listed_and_revoked(program: Program, up: Started) -> None:
    """A key works from when it is made until it is revoked, and within its scopes."""
    assert up.said["ready"]
    made = program.json("keys", "create", "--tenant=acme", "--scope=calls:read")
    assert set(made) == {"id", "key", "tenant", "scopes"}
    with_key = {"OUTDIAL_API_KEY": made["key"]}
    assert "No such call" in program.run("calls", "list", **with_key).stderr
    refused = program.run("call", "+13125550160", code=1, **with_key)
    assert "this key may not do that" in refused.stderr
    assert made["id"] in program.run("keys", "list").stdout
    program.run("keys", "revoke", made["id"])
    (record,) = [x for x in program.json("keys", "list")["items"] if x["id"] == made["id"]]
    assert record["revoked_at"] is not None
    refused = program.run("keys", "revoke", "nothing", code=1)
    assert refused.stderr == "outdial: there is no key nothing; see `outdial keys list`\n"


def test_a_wrong_key_stops_an_import_with_one_line(program: Program, up: Started) -> None:
    """An import does not wait for a key to become right."""
    assert up.said["ready"]
    name = write(program, "few.csv", "phone\n+13125550170\n")
    refused = program.run("import", name, "--json", code=1, OUTDIAL_API_KEY="wrong")
    assert "does not accept the key" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_events_are_replayed_and_change_nothing(program: Program, up: Started) -> None:
    """Replaying what was processed tells no activity event again."""
    assert up.said["ready"]
    call = json.loads(program.run("call", "+13125550180", "--json").stdout)
    replayed = program.json("events", "replay", "--call", call["id"])
    assert replayed["failed"] == 0
    assert sum(replayed.values()) >= 2
    assert program.json("calls", "show", call["id"])["timeline"] == call["timeline"]
    nothing = program.run("events", "replay", "--kind", "call_begun", code=1)
    assert "Retell's are call_started, call_ended, call_analyzed" in nothing.stderr


def test_the_warehouse_is_loaded_anew_by_its_owner(program: Program, up: Started) -> None:
    """While `up` has DuckDB's file open, `warehouse rebuild` asks it."""
    assert up.said["ready"]
    assert program.json("warehouse", "rebuild")["loaded"] > 0
    assert program.json("warehouse", "upgrade")["owner"] == up.said["urls"]["web-api"]


def test_dead_letters_are_shown_and_sent_back(program: Program, up: Started) -> None:
    """`dlq` shows what of the three could not be done; an empty one is no fault."""
    assert up.said["ready"]
    for queue in ("events", "activity"):
        assert program.json("dlq", "list", queue) == {"items": []}
        assert program.json("dlq", "redrive", queue) == {"redriven": 0}
    program.run("dlq", "list", "letters", code=2)
    told = "outdial: there is no dead letter nothing in calls; see `outdial dlq list calls`\n"
    assert program.run("dlq", "show", "calls", "nothing", code=1) == Done("", told)
    assert program.run("dlq", "redrive", "calls", "nothing", code=1) == Done("", told)


def test_poison_is_shown_with_its_reason_and_body(program: Program, up: Started) -> None:
    """A message nobody can read is put aside; sent back unmended, it comes back."""
    assert up.said["ready"]

    async def poison() -> None:
        settings = config.load(home=program.home)
        async with bootstrap.open_queue(settings, "calls") as queue:
            await queue.send([Outgoing("nonsense")])

    asyncio.run(poison())
    first = _dead_letter(program)
    assert "not JSON" in first["reason"]
    assert "nonsense" in program.run("dlq", "show", "calls", first["id"]).stdout
    assert first["id"] in program.run("dlq", "list", "calls").stdout
    assert program.json("dlq", "show", "calls", first["id"])["body"] == "nonsense"
    assert "dead letter" in program.run("doctor").stdout
    assert "1 dead letter sent back" in program.run("dlq", "redrive", "calls", first["id"]).stdout
    assert "not JSON" in _dead_letter(program)["reason"]


def _dead_letter(program: Program) -> dict[str, str]:
    deadline = time.monotonic() + 60
    while not (items := program.json("dlq", "list", "calls")["items"]):
        assert time.monotonic() < deadline, "no dead letter came"
        time.sleep(0.1)
    letter: dict[str, str] = items[0]
    return letter


def test_the_doctor_finds_all_well(program: Program, up: Started) -> None:
    """With everything running, every dependency is reached."""
    assert up.said["ready"]
    told = program.json("doctor")
    assert told["ok"], told
    assert {check["name"] for check in told["checks"]} >= {"database", "warehouse", "voice api"}


def test_a_reader_that_has_enough_is_no_fault(program: Program, up: Started) -> None:
    """`outdial calls list | head` ends quietly."""
    import subprocess  # noqa: PLC0415

    assert up.said["ready"]
    process = subprocess.Popen(
        program.command("calls", "list", "--all", "--json"),
        cwd=program.folder,
        env=program.environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


def test_what_was_stopped_goes_on(tmp_path: Path) -> None:
    """Killed or stopped, the next `up` starts on the same home with the same key."""
    program = Program(tmp_path)
    with program.started(*UP) as first:
        key = first.said["key"]["key"]
        first.process.kill()
        first.process.wait()
    with program.started(*UP) as second:
        assert second.said["key"] is None
        assert json.loads((program.home / "credentials.json").read_text())["key"] == key
        assert "No such call" in program.run("calls", "list").stderr
        code, told = second.stop(signal.SIGINT)
    assert code == 0
    assert told == "Stopping; what is under way is finished. Again stops at once.\n"
    assert not (program.home / "run.json").exists()
    refused = program.run("calls", "list", code=1, OUTDIAL_API_URL="http://127.0.0.1:1")
    assert "Start it with `outdial up`" in refused.stderr


def _until_dialed(up: Started, number: str) -> list[str]:
    """Wait for a dial that is bound to come; all dials then."""
    deadline = time.monotonic() + 60
    while number not in (dialed := up.dialed()):
        assert time.monotonic() < deadline, f"{number} was not dialed"
        time.sleep(0.1)
    return dialed


@pytest.mark.parametrize("both", [False, True])
def test_up_outlives_its_reader(tmp_path: Path, *, both: bool) -> None:
    """`up 2>&1 | head -1` goes on when the pipe is closed, and SIGTERM still stops it."""
    program = Program(tmp_path)
    process = subprocess.Popen(
        program.command(*UP),
        cwd=program.folder,
        env=program.environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if both else subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        url = _until_serving(program, process)
        with urlopen(url + "/readyz", timeout=PATIENCE) as answer:
            assert answer.status == 200
        process.terminate()
        assert process.wait(timeout=PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def _until_serving(program: Program, process: "subprocess.Popen[str]") -> str:
    give_up = time.monotonic() + PATIENCE
    while (found := home.running(program.home)) is None:
        assert process.poll() is None, "it ended"
        assert time.monotonic() < give_up
        time.sleep(0.05)
    return str(found["urls"]["internal-api"])

"""`outdial audit` as it is run: beside `up`, and where nothing runs."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from outdial.audit import LISTED
from tests.flow.program import Program, Started
from tests.flow.test_cli_running import UP

CALLS = 12


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The program with its pace lifted."""
    settings = {"OUTDIAL_DIAL_RATE": "50", "OUTDIAL_MAX_CONCURRENT_CALLS": "200"}
    return Program(tmp_path_factory.mktemp("outdial"), settings)


@pytest.fixture(scope="module")
def up(program: Program) -> Iterator[Started]:
    """`up`, with some calls under way."""
    with program.started(*UP) as running:
        rows = "".join(f"+1415555{i:04}\n" for i in range(100, 100 + CALLS))
        (program.folder / "numbers.csv").write_text(f"phone\n{rows}", encoding="utf-8")
        program.run("import", "numbers.csv")
        yield running


def test_all_is_well_beside_up(program: Program, up: Started) -> None:
    """While calls are under way: the warehouse is asked where it is open, the simulator as well."""
    assert up.said["dials"] == "simulator"
    found = program.json("audit")
    assert found["ok"], found["violations"]
    assert found["checked"]["calls"] == CALLS
    assert "warehouse_rows" in found["checked"]
    assert found["violations"] == []
    assert found["provisional"] == 0
    told = program.run("audit").stdout
    assert "Every promise is kept." in told
    assert "attempt_dialed_twice" in told


def test_a_broken_promise_is_listed(program: Program, up: Started) -> None:
    """With its ids, and exit code 1."""
    assert up.said["ready"]
    with closing(sqlite3.connect(program.home / "outdial.db", timeout=30)) as ledger, ledger:
        (call_id,) = ledger.execute("SELECT min(id) FROM calls").fetchone()
        ledger.execute(
            "INSERT INTO alarms (id, kind, call_id, attempt_id, raised_at) "
            "VALUES ('a', 'duplicate_dial', ?, 'attempt-x', 1)",
            (call_id,),
        )
    try:
        told = program.run("audit", code=1).stdout
        assert call_id in told
        assert "attempt-x" in told
        assert "1 violation." in told
        found = program.json("audit", code=1)
        assert found["counts"] == {"duplicate_dial": 1}
        [violation] = found["violations"]
        assert violation == {
            "rule": "duplicate_dial",
            "call_id": call_id,
            "attempt": None,
            "detail": violation["detail"],
        }
    finally:
        with closing(sqlite3.connect(program.home / "outdial.db", timeout=30)) as ledger, ledger:
            ledger.execute("DELETE FROM alarms")


def test_a_refused_key_is_no_check(program: Program, up: Started) -> None:
    """The warehouse's owner asks for a key of an administrator."""
    assert up.said["ready"]
    found = program.json("audit", code=1, OUTDIAL_API_KEY="od_wrong")
    [violation] = found["violations"]
    assert violation["rule"] == "not_checked"
    assert violation["detail"].startswith("warehouse")
    assert program.json("audit", "--without=warehouse", OUTDIAL_API_KEY="od_wrong")["ok"]


def test_where_nothing_runs(tmp_path: Path) -> None:
    """There is nobody to ask for the provider's list, and no warehouse yet."""
    program = Program(tmp_path)
    assert "db upgrade" in program.run("audit", code=1).stderr
    program.run("db", "upgrade")
    found = program.json("audit", code=1)
    [violation] = found["violations"]
    assert (violation["rule"], violation["call_id"]) == ("not_checked", None)
    assert "OUTDIAL_RETELL_API_KEY" in violation["detail"]
    told = program.run("audit", "--without", "provider")
    assert "Every promise is kept." in told.stdout
    assert "Not checked, as asked: the provider." in told.stderr
    assert not (program.home / "warehouse.duckdb").exists()
    program.run("warehouse", "upgrade")
    assert program.json("audit", "--without=provider")["ok"]
    refused = program.json("audit", code=1, OUTDIAL_WAREHOUSE_URL="sqlite:///x")["violations"]
    assert any("OUTDIAL_WAREHOUSE_URL" in one["detail"] for one in refused)


def test_wrong_usage(tmp_path: Path) -> None:
    """The sources that can be left out are named."""
    told = Program(tmp_path).run("audit", "--without=ledger", code=2).stderr
    assert "ledger: it can do without provider or warehouse" in told


def test_what_is_not_listed_is_counted(tmp_path: Path) -> None:
    """A ledger full of violations fills no screen."""
    program = Program(tmp_path)
    program.run("db", "upgrade")
    with closing(sqlite3.connect(program.home / "outdial.db")) as ledger, ledger:
        ledger.executemany(
            "INSERT INTO calls (id, tenant, status, to_number, lane, due_at, attempts, sequence, "
            "told_initiated, created_at, updated_at, version, loaded_version) "
            "VALUES (?, 't', 'expired', '+14155550100', 't', 1, 0, 0, 0, 1, 1, 1, 0)",
            [(f"{number:08}",) for number in range(LISTED + 7)],
        )
    told = program.run("audit", "--without=provider", code=1).stdout
    assert f"{LISTED + 7:,} violations, 7 of them not listed." in told
    assert told.count("call_end  ") <= LISTED + 1

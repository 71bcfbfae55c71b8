"""`outdial audit` where nothing runs."""

import sqlite3
from contextlib import closing
from pathlib import Path

from outdial.audit import LISTED
from tests.flow.program import Program


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

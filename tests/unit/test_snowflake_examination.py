"""What the doctor finds out about an account, from what Snowflake answers."""

from collections.abc import Mapping

import pytest

from outdial.adapters.snowflake import Address
from outdial.adapters.snowflake.examination import Finding, checks
from outdial.adapters.snowflake.schema import MIGRATIONS
from outdial.bootstrap import examine_warehouse
from outdial.config import load
from outdial.errors import ConfigurationError

PARAMETERS = {"TIMEZONE": "UTC", "WEEK_START": 1}
SIGNED_IN = ("ADA", "R", "W", "DB", "S", "AWS_EU_WEST_1", "9.1")
Answers = Mapping[str, list[tuple[object, ...]]]
GOOD: Answers = {
    "SELECT CURRENT_USER": [SIGNED_IN],
    "SHOW PARAMETERS LIKE 'TIMEZONE'": [("TIMEZONE", "UTC")],
    "SHOW PARAMETERS LIKE 'WEEK_START'": [("WEEK_START", "1")],
    'SELECT "size"': [("X-Small", 60, "true")],
    "SELECT COUNT(*) FROM information_schema": [(1,)],
    "SELECT number FROM schema_migrations": [(1,)],
}


def examined(answers: Answers, warehouse: str = "?warehouse=W") -> dict[str, Finding]:
    """Every check, asked of an account that answers so, and with nothing to the rest."""

    def run(sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        return next((rows for start, rows in answers.items() if sql.startswith(start)), [])

    address = Address.of(f"snowflake://a:p@b/D/S{warehouse}")
    found = checks(address, dict(PARAMETERS), MIGRATIONS)
    return {name: check(run) for name, check in found.items()}


def test_a_good_account_has_no_fault() -> None:
    """Who is signed in, and that all is as asked for."""
    found = examined(GOOD)
    assert {finding.state for finding in found.values()} == {"ok"}
    assert "user ADA, role R, warehouse W" in found["sign in"].detail


_NO_WAREHOUSE = (*SIGNED_IN[:2], None, *SIGNED_IN[3:])
_ZONE = "SHOW PARAMETERS LIKE 'TIMEZONE'"


@pytest.mark.parametrize(
    ("check", "answers", "state", "told"),
    [
        ("sign in", {"SELECT CURRENT_USER": [_NO_WAREHOUSE]}, "fault", "no warehouse"),
        ("session", {_ZONE: [("TIMEZONE", "Asia/Tokyo")]}, "fault", "TIMEZONE is Asia/Tokyo"),
        ("session", {_ZONE: []}, "fault", "TIMEZONE is None"),
        ("compute", {'SELECT "size"': []}, "fault", "not to be seen"),
        ("compute", {'SELECT "size"': [("X-Small", 60, "false")]}, "fault", "not woken"),
        ("compute", {'SELECT "size"': [("Large", 600, "true")]}, "notice", "sleeps after 600 s"),
        ("compute", {'SELECT "size"': [("Large", None, "true")]}, "notice", "Large"),
        ("schema", {"SELECT number FROM schema_migrations": []}, "fault", "0001 the tables"),
    ],
)
def test_each_fault_is_told(check: str, answers: Answers, state: str, told: str) -> None:
    """With what to do about it, and without hiding the others."""
    found = examined({**GOOD, **answers})
    assert found[check].state == state
    assert told in found[check].detail
    assert found[check].mend
    assert [each.state for name, each in found.items() if name != check] == ["ok"] * 4


def test_a_warehouse_that_is_not_named_is_noticed() -> None:
    """The user's default may be anything."""
    assert examined(GOOD, "")["compute"].state == "notice"


async def test_duckdb_is_not_examined_so() -> None:
    """The plain doctor looks at it."""
    with pytest.raises(ConfigurationError, match="without --warehouse"):
        _ = [finding async for finding in examine_warehouse(load())]


async def test_an_account_that_is_not_to_be_reached_is_one_finding() -> None:
    """The other checks would only say the same."""
    settings = load(warehouse_url="snowflake://a:p@b/D/S?host=127.0.0.1")
    found = [finding async for finding in examine_warehouse(settings)]
    assert [(finding.name, finding.state) for finding in found] == [("sign in", "fault")]

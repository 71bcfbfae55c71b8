"""URLs of PostgreSQL as they are found in consoles and manuals."""

import ssl
import sys
from pathlib import Path
from typing import Any

import certifi
import pytest
from sqlalchemy.engine import make_url

from outdial.adapters.database.engine import open_database
from outdial.adapters.database.postgresql_url import connection_of
from outdial.errors import ConfigurationError
from tests.flow.program import Program

SERVER = "postgresql://ann:hushhush@db.example/outdial"


@pytest.mark.parametrize(
    ("query", "left", "arguments", "settings"),
    [
        ("", "", {}, {}),
        ("?host=/run/pg", "?host=%2Frun%2Fpg", {}, {}),
        ("?ssl=require", "?ssl=require", {}, {}),
        ("?sslmode=require", "", {"ssl": "require"}, {}),
        ("?sslmode=disable&port=6432", "?port=6432", {"ssl": "disable"}, {}),
        ("?connect_timeout=5", "", {"timeout": 5.0}, {}),
        ("?statement_cache_size=0", "", {"statement_cache_size": 0}, {}),
        ("?application_name=dialer", "", {}, {"application_name": "dialer"}),
    ],
)
def test_what_libpq_knows_is_understood(
    query: str, left: str, arguments: dict[str, Any], settings: dict[str, str]
) -> None:
    """Its parameters become the driver's."""
    url, given, told = connection_of(make_url(SERVER + query))
    assert url.render_as_string(hide_password=False) == SERVER + left
    assert (given, told) == (arguments, settings)


@pytest.mark.parametrize(("mode", "host"), [("verify-full", True), ("verify-ca", False)])
def test_a_root_certificate_is_used(mode: str, host: bool) -> None:  # noqa: FBT001
    """Both kinds of verifying look at the certificate, one at the server's name as well."""
    query = f"?sslmode={mode}&sslrootcert={certifi.where()}"
    _, given, _ = connection_of(make_url(SERVER + query))
    context = given["ssl"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname is host


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("?sslmode=requir", "sslmode 'requir' is none of disable, "),
        ("?sslmode=verify-full&sslrootcert=/nowhere.pem", "/nowhere.pem: No such file"),
        ("?connect_timeout=soon", "connect_timeout 'soon' is not a whole number"),
        ("?gssencmode=disable&x=1", "unknown parameter gssencmode, x; known are "),
    ],
)
def test_what_is_wrong_is_named(query: str, told: str) -> None:
    """In one line, with the variable and without the password."""
    with pytest.raises(ConfigurationError, match=r"^OUTDIAL_DATABASE_URL: ") as raised:
        connection_of(make_url(SERVER + query))
    assert told in str(raised.value)
    assert "hushhush" not in str(raised.value)


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ConfigurationError, match=r"asyncpg.*pip install 'outdial\[postgres\]'"):
        open_database(SERVER)


def test_no_command_fails_otherwise(tmp_path: Path) -> None:
    """`doctor` says it beside all else, other commands in one line."""
    program = Program(tmp_path, {"OUTDIAL_DATABASE_URL": f"{SERVER}?gssencmode=disable"})
    refused = program.run("db", "upgrade", code=1).stderr
    assert refused.count("\n") == 1
    assert "unknown parameter gssencmode" in refused
    found = program.run("doctor", "--json", code=1).stdout
    assert "unknown parameter gssencmode" in found

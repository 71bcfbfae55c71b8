"""Configuration from the environment and `.env`: what is wrong is told, all of it, in one line."""

import re
from pathlib import Path

import pytest

from outdial import config
from outdial.errors import ConfigurationError


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `.env` that counts."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


def fault() -> str:
    """What loading says."""
    with pytest.raises(ConfigurationError) as raised:
        config.load()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_file_is_read(file: Path) -> None:
    """Comments, quotes, `export`, names of others, and the mark of Windows editors are fine."""
    file.write_text(
        'OUTDIAL_DIAL_RATE="5"\n# a comment\n\nexport OUTDIAL_LOG_LEVEL=error\nOTHER\n',
        encoding="utf-8-sig",
    )
    settings = config.load()
    assert (settings.dial_rate, settings.log_level) == (5, "error")


def test_a_misspelt_name_in_the_file_is_refused(file: Path) -> None:
    """It would be without effect there as well."""
    file.write_text("OUTDIAL_DIAL_RAET=5\n")
    assert fault().startswith("unknown variable OUTDIAL_DIAL_RAET in .env")


@pytest.mark.parametrize("line", ['OUTDIAL_DIAL_RATE="5', "OUTDIAL_DIAL_RATE", "= 5"])
def test_a_line_that_is_no_assignment_is_refused(file: Path, line: str) -> None:
    """A setting must not be lost for a quote; what the line holds may be secret."""
    file.write_text(f"OUTDIAL_LOG_LEVEL=error\n{line}\n")
    assert fault() == ".env line 2 is not NAME=value: mend it"


def test_a_file_that_is_no_text_is_refused(file: Path) -> None:
    """One line says which file."""
    file.write_bytes("OUTDIAL_HOME=ü\n".encode("cp1252"))
    assert fault() == ".env is not UTF-8 text: save it as that"


def test_all_faults_are_told_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to start it once for each."""
    monkeypatch.setenv("OUTDIAL_DIAL_RAET", "5")
    monkeypatch.setenv("OUTDIAL_DIAL_RATE", "fast")
    file.write_text("OUTDIAL_HOEM=x\nOUTDIAL_LOG_LEVEL=loud\n")
    told = fault()
    for name in ("DIAL_RAET", "DIAL_RATE", "HOEM", "LOG_LEVEL"):
        assert f"OUTDIAL_{name}" in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OUTDIAL_DEFAULT_FROM_NUMBER", "4155550100"),
        ("OUTDIAL_DEFAULT_FROM_NUMBER", "+1 415 555 0100"),
        ("OUTDIAL_RETELL_BASE_URL", "api.example.com"),
        ("OUTDIAL_RETELL_BASE_URL", "ftp://api.example.com"),
        ("OUTDIAL_RETELL_BASE_URL", "http://api.example.com:99999"),
    ],
)
def test_a_value_that_can_not_be_meant_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A caller's number and an address are looked at before the first call needs them."""
    monkeypatch.setenv(name, value)
    assert re.match(rf"{name}: not an .*: write it like ", fault())


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DIAL_RATE", "abc", "'abc' is not a number: write it like 1"),
        ("DIAL_RATE", "0", "'0' is too little: it must be more than 0, for instance 1"),
        ("MAX_CONCURRENT_CALLS", "2.5", "'2.5' is not a whole number: write it like 20"),
        ("ATTEMPT_LEASE", "0", "'0' is too little: it must be 1 or more, for instance 60"),
        ("LOG_LEVEL", "loud", "'loud' is not known: it must be debug, info, warning or error"),
    ],
)
def test_a_wrong_value_is_named_with_an_example(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    """Whoever reads it knows what was given and what to write instead."""
    monkeypatch.setenv(f"OUTDIAL_{name}", value)
    assert fault() == f"OUTDIAL_{name}: {told}"


def test_an_empty_value_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a compose file passes on what nobody has set."""
    monkeypatch.setenv("OUTDIAL_DEFAULT_FROM_NUMBER", "")
    monkeypatch.setenv("OUTDIAL_RETELL_BASE_URL", "")
    settings = config.load()
    assert settings.default_from_number is None
    assert settings.retell_base_url is None

"""What `up` leaves in the home folder, and how progress is told away from a terminal."""

import os
import stat
from pathlib import Path

import pytest

from outdial import config
from outdial.cli import home, progress, session
from outdial.errors import ConfigurationError


def test_a_home_is_held_by_one(tmp_path: Path) -> None:
    """While one holds it the other is refused with the holder's pid; afterwards it is free."""
    folder = tmp_path / "home"
    with home.held(folder):
        home.write_run(folder, {"pid": 1, "urls": {"internal-api": "http://127.0.0.1:9"}})
        with pytest.raises(home.HomeTakenError, match=f"pid {os.getpid()}"), home.held(folder):
            pass
        assert home.running(folder) is not None
    assert home.running(folder) is None
    with home.held(folder):
        pass


def test_what_a_killed_process_left_counts_for_nothing(tmp_path: Path) -> None:
    """A `run.json` that nobody holds the lock of is stale."""
    (tmp_path / home.LOCK).write_text("4711")
    (tmp_path / home.RUN).write_text('{"pid": 4711, "urls": {}}')
    assert home.running(tmp_path) is None
    with home.held(tmp_path):
        pass


def test_the_home_and_the_key_are_their_owners_only(tmp_path: Path) -> None:
    """Numbers, transcripts and keys lie there."""
    folder = tmp_path / "home"
    home.create(folder)
    home.write_key(folder, {"key": "od_x"})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / home.CREDENTIALS).stat().st_mode) == 0o600


def test_settings_win_over_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OUTDIAL_API_URL and OUTDIAL_API_KEY come first, then what `up` left, then the usual port."""
    monkeypatch.setenv("OUTDIAL_HOME", str(tmp_path))
    assert session.url(config.load()) == "http://127.0.0.1:8001"
    assert session.key(config.load()) is None
    with home.held(tmp_path):
        home.write_run(tmp_path, {"urls": {"internal-api": "http://127.0.0.1:9"}})
        home.write_key(tmp_path, {"key": "od_kept"})
        assert session.url(config.load()) == "http://127.0.0.1:9"
        assert session.key(config.load()) == "od_kept"
        monkeypatch.setenv("OUTDIAL_API_URL", "https://voice.example")
        monkeypatch.setenv("OUTDIAL_API_KEY", "od_set")
        assert session.url(config.load()) == "https://voice.example"
        assert session.key(config.load()) == "od_set"


def test_a_home_that_can_not_be_made_says_which_setting(tmp_path: Path) -> None:
    """One line names the variable to set."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="OUTDIAL_HOME"):
        home.create(tmp_path / "file" / "home")


def test_progress_away_from_a_terminal_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log gets lines some seconds apart; notices come through at once."""
    now = iter([0.0, 1.0, 6.0, 7.0])
    monkeypatch.setattr("outdial.cli.progress.time.monotonic", lambda: next(now))
    with progress.shown("Importing", 200) as shown:
        shown.at(10, "10 rows")
        shown.at(100, "100 rows")
        shown.at(150)
        shown.notice("waiting")
    assert capsys.readouterr().err == "Importing 50%, 100 rows (after 6.0 s)\nwaiting\n"

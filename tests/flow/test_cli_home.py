"""What `up` leaves in the home folder, and how progress is told away from a terminal."""

import os
import stat
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from outdial import config
from outdial.cli import home, progress, session
from outdial.cli.voice import Voice
from outdial.client import ApiError
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
    folder = tmp_path / "made" / "home"
    home.create(folder)
    home.write_key(folder, {"key": "od_x"})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
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


async def test_a_stranger_at_the_usual_port_is_not_told_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no `up` runs, what answers there must look like the Voice API first."""
    heard: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        heard.append(request.headers.get("Authorization"))
        return web.json_response({"hello": "stranger"})

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    home.write_key(tmp_path, {"key": "od_kept"})
    monkeypatch.setenv("OUTDIAL_HOME", str(tmp_path))
    async with TestServer(app) as server:
        monkeypatch.setitem(session.PORTS, "internal-api", server.port)
        with pytest.raises(ApiError, match="does not look like the Voice API"):
            async with session.client(config.load()):
                pass
    assert heard == [None]


async def test_an_import_finds_where_up_came_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try asks the home anew, so a new port is found without a restart."""

    async def missing(_: web.Request) -> web.Response:
        kind = "urn:outdial:problem:not-found"
        return web.json_response({"type": kind, "detail": "no such call"}, status=404)

    app = web.Application()
    app.router.add_get("/v1/calls/{id}", missing)
    monkeypatch.setenv("OUTDIAL_HOME", str(tmp_path))
    monkeypatch.setitem(session.PORTS, "internal-api", 1)
    async with TestServer(app) as server, Voice(config.load()) as voice:
        with pytest.raises(ApiError, match="no answer from http://"):
            await voice.get("x")
        with home.held(tmp_path):
            home.write_run(tmp_path, {"urls": {"internal-api": str(server.make_url("/"))}})
            with pytest.raises(ApiError, match="no such call"):
                await voice.get("x")


def test_a_full_disk_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is to free space, and no other folder is asked for."""
    monkeypatch.setenv("OUTDIAL_HOME", str(tmp_path))
    settings = config.load()
    assert session.database_remedy(settings).startswith(f"OUTDIAL_HOME: {tmp_path} must ")
    monkeypatch.setattr("outdial.cli.session._LEAST_FREE", 1 << 62)
    assert session.database_remedy(settings) == f"no space left in {tmp_path}: free some"


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

"""A kill at each named point of the program's sequences: another process finishes, once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kill_points.defences import DEFENCES
from tests.kill_points.ground import SECONDS, Ground
from tests.kill_points.nursery import Nursery
from tests.kill_points.points import PLACES
from tests.kill_points.table import CASES, DEFENCELESS, Case
from tests.postgres_server import PostgresServer

#: Cases under way at once: they mostly wait for a lease to pass.
AT_ONCE = 6


@pytest.mark.long
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_killed_at_every_point(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each case of the table: every call is dialed once and told once, whoever died where."""
    every = _Every(database, tmp_path, request)
    judged = every.run([(case, SECONDS) for case in CASES])
    failed = [
        "\n".join((f"{case}:", *faults, every.logs(number)))
        for number, (case, faults) in enumerate(zip(CASES, judged, strict=True))
        if faults
    ]
    assert not failed, "\n".join(failed)


@pytest.mark.long
def test_the_kills_find_what_they_are_for(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A program that lacks one of its defences does not stand the kill that it is for."""
    every = _Every("sqlite", tmp_path, request)
    judged = every.run([(without.case, without.patience) for without in DEFENCELESS])
    content = [
        f"{without}: no {without.fault!r} in {faults}"
        for without, faults in zip(DEFENCELESS, judged, strict=True)
        if not any(without.fault in fault for fault in faults)
    ]
    assert not content, "\n".join(content)


def test_every_place_is_killed() -> None:
    """The table leaves out no place that a process can be killed at."""
    assert {point.place for case in CASES for point in case.kills} == set(PLACES)


def test_every_defence_is_taken_out() -> None:
    """None of them goes untried."""
    assert {without.case.without for without in DEFENCELESS} == set(DEFENCES)


class _Every:
    """Cases side by side, each on a ground of its own: a folder by its number, a database."""

    def __init__(self, database: str, folder: Path, request: pytest.FixtureRequest) -> None:
        """`database`: `sqlite` or `postgresql`."""
        self._folder = folder
        self._server: PostgresServer | None = None
        if database == "postgresql":
            self._server = request.getfixturevalue("postgres_server")
            self._template = request.getfixturevalue("postgres_template")
        else:
            self._template = request.getfixturevalue("sqlite_template")

    def run(self, cases: Sequence[tuple[Case, float]]) -> list[list[str]]:
        """What was wrong with each; with each case goes its patience."""
        with Nursery() as nursery, ThreadPoolExecutor(AT_ONCE) as pool:

            def judge(number: int, case: Case, patience: float) -> list[str]:
                folder = self._folder / str(number)
                folder.mkdir()
                try:
                    with ExitStack() as stack:
                        url = self._database(folder, stack)
                        return Ground(case, folder, url, nursery, stack).run(patience)
                except Exception as error:  # noqa: BLE001 - each is judged; the test names them all
                    return [f"{type(error).__name__} {error}"]

            numbered = enumerate(cases)
            return list(pool.map(lambda one: judge(one[0], *one[1]), numbered))

    def logs(self, number: int) -> str:
        """The end of what its processes logged."""
        logs = sorted((self._folder / str(number)).glob("*.log"))
        return "".join(log.read_text()[-1500:] for log in logs)

    def _database(self, folder: Path, stack: ExitStack) -> str:
        if self._server is not None:
            name = f"kill_{folder.name}"
            return stack.enter_context(self._server.database(name, str(self._template)))
        path = folder / "ledger.db"
        path.write_bytes(Path(self._template).read_bytes())
        return f"sqlite:///{path}"

"""The demo: the whole way of every call, and the proof at its end."""

import json
from pathlib import Path
from typing import Any

import pytest

from outdial.cli.demo import stage
from outdial.cli.demo.proof import Evidence, prove
from outdial.cli.demo.result import Result, say_result
from outdial.errors import ConfigurationError
from tests.flow.program import Program

#: An environment that would dial, and store, elsewhere.
ELSEWHERE = {
    "OUTDIAL_RETELL_API_KEY": "key_of_a_real_workspace",
    "OUTDIAL_RETELL_BASE_URL": "http://127.0.0.1:1",
    "OUTDIAL_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
    "OUTDIAL_ACTIVITY_SINK_URL": "http://127.0.0.1:1/events",
    "OUTDIAL_AUTH": "none",
    "OUTDIAL_NONSENSE": "1",
}


def test_the_demo_proves_what_it_shows_whatever_the_environment_says(tmp_path: Path) -> None:
    """Each contact is dialed once on the simulator, though the environment names Retell.

    A second run starts afresh, and prints the same for people.
    """
    program = Program(tmp_path)
    (tmp_path / ".env").write_text("OUTDIAL_RETELL_API_KEY=key_of_a_real_workspace\n")
    contacts = "".join(f"P{i},+1415555{i:04}\n" for i in range(100, 112))
    (tmp_path / "people.csv").write_text("name,phone\n" + contacts + "bad,1\n")
    done = program.finish("demo", "people.csv", "--json", "--speed=300", **ELSEWHERE)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ok"]
    assert [claim["holds"] for claim in told["proof"]] == [True] * 5
    assert told["proof"][0]["figures"] == "12 = 12 = 12"
    assert told["metrics"]["calls"] == sum(told["outcomes"].values()) == 12
    assert "people.csv.rejected.csv" in done.stderr
    again = program.finish("demo", "people.csv", "--no-wait", "--speed=300", **ELSEWHERE)
    assert again.returncode == 0, again.stderr
    assert "no phone rings" in again.stdout.splitlines()[0]
    assert "50 calls a second and 200 at once" in again.stdout
    assert "12 = 12 = 12" in again.stdout
    assert not program.home.joinpath("outdial.db").exists()


def test_a_demo_of_nobody_fails(tmp_path: Path) -> None:
    """A file in which no row can be called is told in one line."""
    (tmp_path / "nobody.csv").write_text("name,phone\nAda,none\n")
    done = Program(tmp_path).finish("demo", "nobody.csv", "--no-wait")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "outdial: nobody.csv: no row could be placed"


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path: Path) -> None:
    """The demo empties its own folder only."""
    theirs = tmp_path / "thesis.txt"
    theirs.write_text("years of work")
    with pytest.raises(ConfigurationError, match="which no demo made"):
        stage.refresh(tmp_path)
    assert theirs.exists()
    theirs.unlink()
    stage.refresh(tmp_path)
    (tmp_path / "outdial.db").touch()
    (tmp_path / "parked").mkdir()
    stage.refresh(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["demo.mark"]


def call(number: int, **changes: Any) -> dict[str, Any]:
    """A call that went as it should."""
    attempts = [{"number": 1, "retell_call_id": f"call_{number}"}]
    timeline = [
        {"kind": "accepted", "attempt": None},
        {"kind": "voice_call.initiated", "attempt": 1},
        {"kind": "voice_call.completed", "attempt": 1},
    ]
    whole = {
        "id": f"id-{number}",
        "to_number": f"+1415555{number:04}",
        "status": "completed",
        "attempts": attempts,
        "timeline": timeline,
    }
    return {**whole, **changes}


def dial(number: int, **changes: Any) -> dict[str, Any]:
    """The dial that belongs to it."""
    metadata = {"outdial_call_id": f"id-{number}"}
    return {"to_number": f"+1415555{number:04}", "metadata": metadata, "rang": True, **changes}


ANALYTICS = {"calls": 2, "attempts": 2, "waiting": 0, "under_way": 0}
GOOD = Evidence(["id-1", "id-2"], [call(1), call(2)], [dial(1), dial(2)], ANALYTICS)


def broken(evidence: Evidence) -> list[str]:
    """The claims that do not hold."""
    return [claim.says for claim in prove(evidence) if not claim.holds]


def test_a_good_run_is_proven() -> None:
    """Every claim holds where everything went as it should; a refused dial rang nobody."""
    assert broken(GOOD) == []
    refused = dial(1, rang=False)
    assert broken(Evidence(GOOD.placed, GOOD.calls, [refused, *GOOD.dials], ANALYTICS)) == []


SUM, ONCE, BEGUN, END, SAME = (claim.says for claim in prove(GOOD))


@pytest.mark.parametrize(
    ("evidence", "fails"),
    [
        (Evidence(GOOD.placed, GOOD.calls, [dial(1)], ANALYTICS), [SUM, ONCE]),
        (Evidence(GOOD.placed, GOOD.calls, [dial(1), dial(1), dial(2)], ANALYTICS), [ONCE]),
        (Evidence(GOOD.placed, GOOD.calls, [dial(1), dial(2), dial(3)], ANALYTICS), [ONCE]),
        (
            Evidence(GOOD.placed, [call(1), call(2, status="queued")], GOOD.dials, ANALYTICS),
            [SUM],
        ),
        (
            Evidence(GOOD.placed, [call(1), call(2, timeline=[])], GOOD.dials, ANALYTICS),
            [BEGUN, END],
        ),
        (
            Evidence(
                GOOD.placed,
                [call(1), call(2, timeline=call(2)["timeline"] + call(2)["timeline"][-1:])],
                GOOD.dials,
                ANALYTICS,
            ),
            [END],
        ),
        (Evidence(GOOD.placed, GOOD.calls, GOOD.dials, {**ANALYTICS, "calls": 3}), [SAME]),
    ],
    ids=["lost", "twice", "nobody's", "not ended", "untold", "told twice", "miscounted"],
)
def test_what_went_wrong_is_found(evidence: Evidence, fails: list[str]) -> None:
    """A dial lost, doubled or uncalled for, and an event missing or doubled, break the proof."""
    assert broken(evidence) == fails


def test_faults_are_printed_with_the_proof(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever sees a claim fail also sees where."""
    dials = [dial(1), *(dial(number) for number in range(2, 12))]
    evidence = Evidence(GOOD.placed, GOOD.calls, dials, ANALYTICS)
    result = Result(prove(evidence), [], [], {}, 1.0)
    assert not result.holds
    say_result(result)
    shown = capsys.readouterr()
    assert "+14155550003: asked for 0, dialed 1 times" in shown.err
    assert "… and " in shown.err
    assert result.as_json()["proof"][1]["faults"]

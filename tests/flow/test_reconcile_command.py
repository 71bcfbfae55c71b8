"""The drift report, as the command line and the Voice API tell it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from retell import Retell

from outdial.core.reconciling import Drift
from outdial.ports.keys import Scope
from outdial.ports.platform import ListedCall
from tests.flow.program import Program
from tests.flow.voice_api import voice_api
from tests.ledger_world import open_world
from tests.simulator.running import FROM, KEY, Simulator, start


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    """Retell's place."""
    running = start(tmp_path / "simulator")
    yield running
    running.kill()


@pytest.fixture
def program(tmp_path: Path, simulator: Simulator) -> Iterator[Program]:
    """The command line on a migrated ledger and that simulator."""
    settings = {"OUTDIAL_RETELL_API_KEY": KEY, "OUTDIAL_RETELL_BASE_URL": simulator.url}
    made = Program(tmp_path, settings)
    made.run("db", "upgrade")
    yield made
    structlog.reset_defaults()


def deployment(program: Program) -> str:
    """How this ledger's calls are marked at Retell."""

    async def ask() -> str:
        async with open_world(f"sqlite:///{program.home}/outdial.db") as world:
            return await world.ledger.reconciliation.deployment()

    return asyncio.run(ask())


def test_nothing_differs(program: Program) -> None:
    """It says so, and exits with 0; without `--once` Retell is not asked."""
    before = program.json("reconcile")
    assert before["last_asked_at"] is None
    done = program.run("reconcile", "--once")
    assert "Retell and the ledger agreed." in done.stdout
    after = program.json("reconcile")
    assert after["last_asked_at"] is not None
    assert (after["differed"], after["findings"], after["trouble"]) == ([], [], None)
    assert set(after["left"].values()) == {0, None}


def test_a_call_that_nobody_placed(program: Program, simulator: Simulator) -> None:
    """It is named, and the exit code is 1, again as long as it is left."""
    stray = Retell(api_key=KEY, base_url=simulator.url).call.create_phone_call(
        from_number=FROM,
        to_number="+14155550123",
        metadata={"outdial_deployment": deployment(program), "outdial_call_id": "call-x"},
    )
    report = program.json("reconcile", "--once", code=1)
    assert report["differed"] == [{"kind": "unknown_call", "found": 1, "mended": 0}]
    [finding] = report["findings"]
    assert (finding["retell_call_id"], finding["mended_at"]) == (stray.call_id, None)
    shown = program.run("reconcile", code=1)
    assert "nowhere in the ledger" in shown.stdout
    assert f"unknown_call {stray.call_id} (call call-x)" in shown.stderr


def test_retell_is_away(program: Program, simulator: Simulator) -> None:
    """One line says so, and the exit code is 1."""
    simulator.kill()
    done = program.run("reconcile", "--once", code=1)
    [line] = done.stderr.splitlines()
    assert line.startswith("outdial: Retell unavailable")


def test_a_trouble_is_told(program: Program) -> None:
    """What hindered the last round stands below the report."""

    async def note() -> None:
        async with open_world(f"sqlite:///{program.home}/outdial.db") as world:
            await world.ledger.reconciliation.note("Retell unavailable: away")

    asyncio.run(note())
    assert "Retell unavailable: away" in program.run("reconcile", code=1).stderr


def test_without_a_key(tmp_path: Path) -> None:
    """It says which one it needs."""
    program = Program(tmp_path)
    program.run("db", "upgrade")
    done = program.run("reconcile", "--once", code=1)
    assert "OUTDIAL_RETELL_API_KEY" in done.stderr


async def test_the_api_shows_the_report(ledger_url: str) -> None:
    """To the scope `admin`, as its document describes it."""
    async with voice_api(ledger_url) as api:
        body = orjson.dumps({"event": "call_found", "call": {"call_id": "call_stray"}})
        listed = ListedCall("call_stray", "call-x", "attempt-x")
        await api.ledger.reconciliation.adopt(listed, [body])
        answer = await api.ask("GET", "/v1/reconciliation")
        assert answer.status == 200
        report: dict[str, Any] = answer.json
        assert report["differed"] == [{"kind": "unknown_call", "found": 1, "mended": 0}]
        [finding] = report["findings"]
        assert finding | {"found_at": ""} == {
            "kind": Drift.UNKNOWN_CALL.value,
            "call_id": "call-x",
            "attempt_id": "attempt-x",
            "retell_call_id": "call_stray",
            "detail": "unknown_call",
            "found_at": "",
            "mended_at": None,
        }
        document = (await api.ask("GET", "/openapi.json")).json
        described = document["components"]["schemas"]["DriftReport"]["properties"]
        assert described.keys() == report.keys()
        reader = await api.key(Scope.CALLS_READ)
        refused = await api.ask("GET", "/v1/reconciliation", secret=reader)
        assert refused.status == 403

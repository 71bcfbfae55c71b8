"""Simulators, callers and receivers for the tests of this folder."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.simulator.running import Caller, Launch, Receiver, Simulator, start


@pytest.fixture(scope="session")
def shared_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One simulator for all tests that need no settings of their own."""
    simulator = start(tmp_path_factory.mktemp("simulator"))
    yield simulator
    assert simulator.stop() == 0


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts simulators with settings of the test's own."""
    started: list[Simulator] = []

    def launch_one(home: Path | None = None, **flags: object) -> Simulator:
        started.append(start(home or tmp_path / "sim", **flags))
        return started[-1]

    yield launch_one
    for simulator in started:
        if simulator.process.returncode is None:
            simulator.kill()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Takes webhooks on a free port."""
    taken = Receiver()
    application = web.Application(client_max_size=100_000_000)
    application.router.add_post("/hook", taken.take)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    taken.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield taken
    taken.release()
    await runner.cleanup()


@pytest.fixture
async def caller(shared_simulator: Simulator, receiver: Receiver) -> AsyncIterator[Caller]:
    """A client of the shared simulator, which has forgotten every other test."""
    made = Caller(shared_simulator, receiver)
    await made.post("/sim/reset")
    yield made
    await made.post("/sim/reset")
    await made.close()

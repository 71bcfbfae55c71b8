"""One life of the program: every stage in this process, put together as anywhere, and one kill."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from outdial import config, webhook_lambda, webhook_processor
from outdial.adapters.database import reconciliation
from outdial.bootstrap import open_parts, stages
from outdial.http_common.listening import listen
from outdial.http_common.serving import serving
from outdial.simulator import server
from outdial.simulator.settings import Settings as SimulatorSettings
from outdial.telemetry import set_up_logging
from tests.kill_points.defences import take_out
from tests.kill_points.points import Point, arm

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Life:
    """`environment`: the program's settings. `kill`: None for a life that goes on."""

    environment: dict[str, str]
    ports: dict[str, int]
    log: Path
    witness: Path
    kill: Point | None = None
    parked: bool = False
    loaded: bool = False
    without: str | None = None

    def live(self) -> None:
        """Run the stages until killed."""
        _enter(self.environment, self.log)
        # What a killed process had in hand comes again soon.
        webhook_processor.VISIBILITY = 1.0
        reconciliation.HOLD_MS = 1_000
        if self.parked:
            webhook_lambda._MAX_QUEUED_BYTES = 100
        if self.without is not None:
            take_out(self.without)
        if self.kill is not None:
            dials_url = self.environment["OUTDIAL_RETELL_BASE_URL"] + "/sim/dials"
            arm(self.kill, self.witness, dials_url)
        asyncio.run(self._run())

    async def _run(self) -> None:
        settings = config.load(dotenv=False)
        set_up_logging("info")
        async with AsyncExitStack() as stack:
            parts = await stack.enter_async_context(open_parts(settings))
            workers = [build(parts) for build in stages.WORKERS.values()]
            apps = {
                "internal-api": stages.internal_api(parts, _HOST, {}).app,
                "webhook": stages.webhook(parts, _HOST, {}).app,
            }
            if self.loaded:
                analytics = stages.web_api(parts, _HOST, {})
                apps["web-api"] = analytics.app
                workers += analytics.workers
            for name, app in apps.items():
                socket = stack.enter_context(listen(_HOST, self.ports[name]))
                await stack.enter_async_context(serving(app, socket))
            async with asyncio.TaskGroup() as group:
                for worker in workers:
                    group.create_task(_run_to_its_end(worker))


async def _run_to_its_end(worker: stages.Worker) -> None:
    await worker.run()


@dataclass(frozen=True, slots=True)
class Retell:
    """The simulator's life."""

    settings: SimulatorSettings
    log: Path

    def live(self) -> None:
        """Run until killed."""
        _enter({}, self.log)
        server.run(self.settings)


def _enter(environment: dict[str, str], log: Path) -> None:
    os.environ.update(environment)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]

"""Running stages: one (`serve`), or all in one process (`up`)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from outdial.bootstrap import interpreter, stages
from outdial.bootstrap.openers import open_parts, require_schema
from outdial.bootstrap.parts import Parts
from outdial.bootstrap.simulated import SIMULATOR_KEY, simulator
from outdial.bootstrap.stages import Worker
from outdial.config import Settings
from outdial.http_common.auth import issue_key
from outdial.http_common.listening import listen, url_of
from outdial.http_common.serving import serving
from outdial.ports.keys import Scope
from outdial.telemetry import set_up_logging, watching_loop


@dataclass(frozen=True, slots=True)
class Running:
    """What runs, told once it is ready. `urls` by service; `new_key` the first time only."""

    urls: Mapping[str, str]
    dials: str
    new_key: Mapping[str, Any] | None = None


async def serve(  # noqa: PLR0913 - what, how, where, and until when
    stage: str,
    settings: Settings,
    *,
    host: str,
    port: int,
    on_ready: Callable[[Running], None],
    stop: asyncio.Event,
) -> None:
    """Run one stage until `stop`. Raises `ConfigurationError` where it can't start."""
    _prepare(settings)
    async with AsyncExitStack() as stack:
        stack.callback(interpreter.release)
        sock = stack.enter_context(listen(host, port))
        parts = await stack.enter_async_context(open_parts(settings))
        if stage != "webhook":
            await require_schema(parts)
        if stage == "web-api" and not parts.warehouse_is_shared:
            await parts.warehouse.upgrade()
        built = stages.build(stage, parts, host)
        await stack.enter_async_context(watching_loop())
        url = await stack.enter_async_context(serving(built.app, sock))
        tasks = [await stack.enter_async_context(_working(w)) for w in built.workers]
        interpreter.settle()
        on_ready(Running({stage: url}, settings.retell_base_url or "Retell"))
        await _until(stop, tasks)


async def up(  # noqa: PLR0913 - how, where, and until when
    settings: Settings,
    *,
    host: str,
    ports: Mapping[str, int],
    on_ready: Callable[[Running], None],
    stop: asyncio.Event,
    speed: float = 1.0,
) -> None:
    """Run every stage until `stop`; without a Retell key, the simulator too, at `speed`.

    `ports` of `internal-api`, `webhook`, `web-api` and `simulator`; 0 picks a free one. Raises
    `ConfigurationError` where it can't start.
    """
    _prepare(settings)
    async with AsyncExitStack() as stack:
        stack.callback(interpreter.release)
        names = ("webhook", "web-api", "internal-api")
        sockets = {name: stack.enter_context(listen(host, ports[name])) for name in names}
        urls = {name: url_of(sockets[name]) for name in names}
        dials = settings.retell_base_url or "Retell"
        if settings.retell_api_key is None:
            urls["simulator"] = await stack.enter_async_context(
                simulator(
                    settings,
                    host=host,
                    port=ports["simulator"],
                    webhook_url=urls["webhook"] + "/webhooks/retell",
                    speed=speed,
                )
            )
            dials = "simulator"
            settings = _simulated(settings, urls["simulator"])
        parts = await stack.enter_async_context(open_parts(settings))
        await parts.ledger.upgrade()
        if not parts.warehouse_is_shared:
            await parts.warehouse.upgrade()
        new_key = await _first_key(parts)
        workers = [build(parts) for build in stages.WORKERS.values()]
        checks = {name: check for worker in workers for name, check in worker.checks.items()}
        await stack.enter_async_context(watching_loop())
        tasks = []
        for name, stage in (
            ("webhook", stages.webhook(parts, host, {})),
            ("web-api", stages.web_api(parts, host, {})),
        ):
            await stack.enter_async_context(serving(stage.app, sockets[name]))
            tasks += [await stack.enter_async_context(_working(w)) for w in stage.workers]
        tasks += [await stack.enter_async_context(_working(worker)) for worker in workers]
        app = stages.internal_api(parts, host, checks).app
        await stack.enter_async_context(serving(app, sockets["internal-api"]))
        interpreter.settle()
        on_ready(Running(urls, dials, new_key))
        await _until(stop, tasks)


def _prepare(settings: Settings) -> None:
    interpreter.prepare()
    set_up_logging(settings.log_level)


def _simulated(settings: Settings, url: str) -> Settings:
    update: dict[str, object] = {
        "retell_api_key": SecretStr(SIMULATOR_KEY),
        "retell_base_url": url,
        "retell_webhook_key": (),
    }
    if settings.default_from_number is None:
        # The simulator owns every number; a caller's number reserved for fiction will do.
        update["default_from_number"] = "+14155550100"
    return settings.model_copy(update=update)


async def _first_key(parts: Parts) -> Mapping[str, Any] | None:
    """A key for whoever starts this for the first time; None where there are keys."""
    keys = parts.ledger.keys
    if parts.settings.auth == "none" or await keys.all():
        return None
    scopes = tuple(Scope)
    issued = await issue_key(keys, "default", scopes)
    return {
        "id": issued.record.id,
        "key": issued.secret,
        "tenant": issued.record.tenant,
        "scopes": [scope.value for scope in scopes],
    }


@asynccontextmanager
async def _working(worker: Worker) -> AsyncIterator["asyncio.Task[None]"]:
    async def run() -> None:
        await worker.run()

    task = asyncio.create_task(run(), name=worker.name)
    try:
        yield task
    finally:
        if not task.done():
            await worker.stop()
        # Its fault, if it had one, is what ended us: `_until` has raised it.
        await asyncio.wait({task})


async def _until(stop: asyncio.Event, tasks: list["asyncio.Task[None]"]) -> None:
    """Wait for `stop`; a worker that ends before is a fault, and raises its own."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        stopping.cancel()

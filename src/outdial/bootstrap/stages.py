"""Each stage with its ports: what it serves over HTTP, and what it does besides."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from starlette.applications import Starlette

from outdial.bootstrap import interpreter
from outdial.bootstrap.parts import Parts
from outdial.config import TIMEOUT_SHARE
from outdial.http_common.auth import Authentication, authentication
from outdial.http_common.operations import Check, operations_app

Run = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Worker:
    """Work that goes on until `stop`; `checks` are for `/readyz`."""

    name: str
    run: Run
    stop: Run
    checks: Mapping[str, Check] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stage:
    """`app` is served as long as the stage runs; `workers` run beside it."""

    app: Starlette
    workers: tuple[Worker, ...] = ()


def build(name: str, parts: Parts, host: str) -> Stage:
    """The stage of this name, alone in its process and bound to `host`."""
    if name in _SERVICES:
        return _SERVICES[name](parts, host, {})
    worker = WORKERS[name](parts)
    return Stage(operations_app(worker.checks), (worker,))


def internal_api(parts: Parts, host: str, checks: Mapping[str, Check]) -> Stage:
    """The Voice API; `checks` are those of stages in the same process."""
    from outdial.internal_api import Defaults, create_app  # noqa: PLC0415

    settings = parts.settings
    app = create_app(
        parts.ledger.intake,
        _authentication(parts, host),
        parts.call_queue,
        parts.ledger.reconciliation,
        status=parts.ledger.dialing.status,
        defaults=Defaults(settings.default_from_number, settings.default_agent_id),
        dial_rate=settings.dial_rate,
        checks={"database": parts.ledger.intake.pauses, **checks},
    )
    return Stage(app)


def webhook(parts: Parts, _host: str, _checks: Mapping[str, Check]) -> Stage:
    """The webhook entry: the Lambda's handler behind a local route."""
    from outdial.errors import ConfigurationError  # noqa: PLC0415
    from outdial.webhook_route import webhook_app  # noqa: PLC0415

    keys = parts.settings.webhook_keys
    if not keys:
        raise ConfigurationError(
            "neither OUTDIAL_RETELL_WEBHOOK_KEY nor OUTDIAL_RETELL_API_KEY is set; "
            "webhooks are verified with the key that signs them"
        )
    return Stage(webhook_app(keys, parts.event_queue, parts.parking))


def web_api(parts: Parts, host: str, checks: Mapping[str, Check]) -> Stage:
    """Analytics and dashboard; where DuckDB's file is, the loader runs here."""
    from outdial.web_api import create_app  # noqa: PLC0415

    settings = parts.settings
    parts.make_home()
    loading = None if parts.warehouse_is_shared else _loading(parts)
    app = create_app(
        parts.warehouse,
        _authentication(parts, host),
        keys=parts.ledger.keys if settings.auth == "keys" else None,
        home=settings.home,
        loader=None if loading is None else parts.loader,
        checks=checks,
        status=parts.ledger.dialing.status,
    )
    return Stage(app, () if loading is None else (loading,))


def _loading(parts: Parts) -> Worker:
    stop = asyncio.Event()

    async def end() -> None:
        stop.set()

    return Worker("loader", lambda: parts.loader.run(stop), end, {"loader": parts.loader.check})


def call_processor(parts: Parts) -> Worker:
    """Dials."""
    from outdial.call_processor import CallProcessor, DialTimes  # noqa: PLC0415

    lease = parts.settings.attempt_lease
    times = DialTimes(lease, lease * TIMEOUT_SHARE)
    stage = CallProcessor(parts.ledger.dialing, parts.platform, parts.call_queue, times)
    # Importing the SDK takes a second; whoever is ready first need not wait for it.
    loading = asyncio.ensure_future(parts.platform.warm_up())

    async def run() -> None:
        await loading
        interpreter.settle()
        await stage.run()

    return Worker("call-processor", run, stage.stop, {"dialing": stage.ready})


def webhook_processor(parts: Parts) -> Worker:
    """Takes provider events into the ledger."""
    from outdial.webhook_processor import WebhookProcessor  # noqa: PLC0415

    stage = WebhookProcessor(parts.ledger.inbox, parts.event_queue, parts.parking, parts.platform)
    return Worker("webhook-processor", stage.run, stage.stop, {"webhooks": stage.ready})


def relay(parts: Parts) -> Worker:
    """Moves committed work out."""
    from outdial.relay import Relay  # noqa: PLC0415
    from outdial.relay.due_calls import calls_ahead  # noqa: PLC0415

    stage = Relay(
        parts.ledger.due_calls,
        parts.ledger.activity,
        parts.sink,
        parts.call_queue,
        ahead=calls_ahead(parts.settings.dial_rate),
    )

    async def stop() -> None:
        stage.stop()

    alone = Worker("relay", stage.run, stop, stage.checks)
    return _both(alone, _loading(parts)) if parts.warehouse_is_shared else alone


def _both(one: Worker, other: Worker) -> Worker:
    """Two that go on together; a fault of ours in one ends both, loudly."""

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            for each in (one, other):
                group.create_task(_ended(each))

    async def _ended(each: Worker) -> None:
        await each.run()

    async def stop() -> None:
        await one.stop()
        await other.stop()

    return Worker(one.name, run, stop, {**one.checks, **other.checks})


def reconciler(parts: Parts) -> Worker:
    """Asks Retell about what was not heard of."""
    stage = parts.reconciler
    return Worker("reconciler", stage.run, stage.stop, {"reconciliation": stage.check})


_SERVICES: dict[str, Callable[[Parts, str, Mapping[str, Check]], Stage]] = {
    "internal-api": internal_api,
    "webhook": webhook,
    "web-api": web_api,
}
WORKERS: dict[str, Callable[[Parts], Worker]] = {
    "call-processor": call_processor,
    "webhook-processor": webhook_processor,
    "relay": relay,
    "reconciler": reconciler,
}
#: Every stage that `serve` can run.
STAGES = (*_SERVICES, *WORKERS)


def _authentication(parts: Parts, host: str) -> Authentication:
    return authentication(parts.settings.auth, host, parts.ledger.keys)

"""`outdial serve`: one stage in this process."""

import math
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from outdial.cli import home, session, stopping
from outdial.cli.output import reader_may_leave, say
from outdial.cli.up import Host
from outdial.errors import ConfigurationError

if TYPE_CHECKING:
    import asyncio

    from outdial.bootstrap import Running
    from outdial.config import Settings

STAGES = tuple(session.PORTS)


def serve(  # noqa: PLR0913 - an option each
    stage: Annotated[
        str, typer.Argument(metavar="STAGE", help=", ".join(STAGES), show_default=False)
    ],
    *,
    host: Host = session.LOOPBACK,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="PORT",
            min=0,
            max=65535,
            help="0: a free one.  [default: the stage's own, 8001 to 8014]",
        ),
    ] = None,
    speed: Annotated[
        float | None, typer.Option(metavar="X", min=0.01, help="Simulator: how fast calls pass.")
    ] = None,
    webhook_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Simulator: where its events go.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON with the URL when ready.")
    ] = False,
) -> None:
    r"""Run one stage, until Ctrl-C. Scale out by running more of it.

    Stages meet in the database and the queues only; run `outdial db upgrade` first. Workers
    (call-processor, webhook-processor, relay, reconciler) serve health and metrics on their port.

    \b
    Examples:
      outdial serve internal-api --host 0.0.0.0
      outdial serve call-processor --port 0
      outdial serve simulator --speed 60
    """
    from outdial import bootstrap, config  # noqa: PLC0415

    if stage not in STAGES:
        raise typer.BadParameter(f"{stage} is none of {', '.join(STAGES)}", param_hint="STAGE")
    if stage != "simulator" and (speed is not None or webhook_url is not None):
        raise typer.BadParameter("--speed and --webhook-url are the simulator's alone")
    settings = config.load()
    chosen = session.PORTS[stage] if port is None else port
    if stage == "simulator":
        _simulate(settings, host, chosen, speed or 1.0, webhook_url, as_json=as_json)
        return

    def ready(running: "Running") -> None:
        if stage == "web-api":
            told.enter_context(home.web_api_told(settings.home, running.urls[stage]))
        if as_json:
            import orjson  # noqa: PLC0415

            facts = {"stage": stage, "url": running.urls[stage], "pid": os.getpid()}
            line = orjson.dumps(facts).decode()
        else:
            dialing = f", dials {running.dials}" if stage == "call-processor" else ""
            line = f"{stage} on {running.urls[stage]}{dialing}. Stop with Ctrl-C."
        # A service outlives whoever read where it is.
        with reader_may_leave(sys.stdout):
            say(line)

    async def work(stop: "asyncio.Event") -> None:
        await bootstrap.serve(stage, settings, host=host, port=chosen, on_ready=ready, stop=stop)

    with ExitStack() as told:
        stopping.run_until_stopped(work)


def _simulate(  # noqa: PLR0913 - what the simulator is started with
    settings: "Settings",
    host: str,
    port: int,
    speed: float,
    webhook_url: str | None,
    *,
    as_json: bool,
) -> None:
    from outdial.simulator.server import run  # noqa: PLC0415
    from outdial.simulator.settings import DEFAULT_API_KEY  # noqa: PLC0415
    from outdial.simulator.settings import Settings as SimulatorSettings  # noqa: PLC0415

    key = settings.retell_api_key
    entry = f"http://{session.LOOPBACK}:{session.PORTS['webhook']}"
    home.create(settings.home)
    code = run(
        SimulatorSettings(
            home=settings.home,
            host=host,
            port=port,
            speed=speed,
            webhook_url=webhook_url or f"{entry}/webhooks/retell",
            api_key=DEFAULT_API_KEY if key is None else key.get_secret_value(),
            rate=math.ceil(settings.dial_rate * 1.5),
            concurrency=settings.max_concurrent_calls,
            idempotency_window_s=settings.idempotency_window,
            announce_json=as_json,
        )
    )
    if code:
        raise ConfigurationError(f"the simulator could not start on {host} port {port}")

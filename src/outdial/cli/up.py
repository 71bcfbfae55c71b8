"""`outdial up`: everything in one process."""

import os
import re
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from outdial.cli import home, session, stopping
from outdial.cli.output import duration, reader_may_leave, say, say_facts, styled
from outdial.errors import ConfigurationError

if TYPE_CHECKING:
    import asyncio

    from outdial.bootstrap import Running
    from outdial.config import Settings

Host = Annotated[
    str,
    typer.Option("--host", metavar="HOST", help="Address to listen on; 0.0.0.0 is all of them."),
]


def up(  # noqa: PLR0913 - an option each
    *,
    host: Host = session.LOOPBACK,
    internal_api_port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Voice API; 0: a free one.")
    ] = session.PORTS["internal-api"],
    webhook_port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Webhook entry.")
    ] = session.PORTS["webhook"],
    web_api_port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Analytics and dashboard.")
    ] = session.PORTS["web-api"],
    simulator_port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Simulator, if it is started.")
    ] = session.PORTS["simulator"],
    speed: Annotated[
        float, typer.Option(metavar="X", min=0.01, help="How fast the simulator's calls pass.")
    ] = 1.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON with the URLs when ready.")
    ] = False,
) -> None:
    r"""Run everything in this one process, until Ctrl-C.

    Without OUTDIAL_RETELL_API_KEY it starts the simulator and dials that: no phone rings. State
    lies in OUTDIAL_HOME (.outdial); the next start goes on where this one stopped.

    \b
    Examples:
      outdial up
      OUTDIAL_RETELL_API_KEY=key_… outdial up
      outdial up --speed 60 --internal-api-port 0 --json
    """
    from outdial import bootstrap, config  # noqa: PLC0415

    settings = config.load()
    ports = {
        "internal-api": internal_api_port,
        "webhook": webhook_port,
        "web-api": web_api_port,
        "simulator": simulator_port,
    }
    refuse_twice({name: port for name, port in ports.items() if started(name, settings)})
    began = time.monotonic()

    def ready(running: "Running") -> None:
        remember(settings, running)
        # A service outlives whoever read where it is.
        with reader_may_leave(sys.stdout):
            if as_json:
                say_json_line(settings, running)
            else:
                say_where(settings, running)
                say(f"\nReady in {duration(time.monotonic() - began)}. Stop with Ctrl-C.")

    async def work(stop: "asyncio.Event") -> None:
        await bootstrap.up(settings, host=host, ports=ports, on_ready=ready, stop=stop, speed=speed)

    with home.held(settings.home):
        if not as_json:
            with reader_may_leave(sys.stdout):
                say(styled(what_it_dials(settings), "bold"))
        try:
            stopping.run_until_stopped(work)
        except ConfigurationError as error:
            raise ConfigurationError(named_port(str(error), ports)) from None


def what_it_dials(settings: "Settings") -> str:
    """The first line: whether telephones will ring."""
    if settings.retell_api_key is None:
        return "Outdial dials the simulator: no phone rings (OUTDIAL_RETELL_API_KEY is not set)."
    if settings.retell_base_url:
        return f"Outdial dials through {settings.retell_base_url} (OUTDIAL_RETELL_BASE_URL)."
    return "Outdial dials through Retell: phones will ring, and calls cost money."


def started(service: str, settings: "Settings") -> bool:
    """Whether `up` starts it: the simulator only where there is no key."""
    return service != "simulator" or settings.retell_api_key is None


def refuse_twice(ports: dict[str, int]) -> None:
    """Two services can't listen on one port. Raises `typer.BadParameter` with their options."""
    taken: dict[int, str] = {}
    for name, port in ports.items():
        if port and port in taken:
            raise typer.BadParameter(f"--{taken[port]}-port and --{name}-port are both {port}")
        taken[port] = name


def named_port(message: str, ports: dict[str, int]) -> str:
    """A port that can't be had, with the option that chooses another."""
    if message.startswith("the simulator did not start") and "cannot listen" in message:
        why = message.rpartition(": ")[2].lower()
        return f"port {ports['simulator']}: {why}; choose another with --simulator-port"
    found = re.search(r"port (\d+)", message)
    if found is None:
        return message
    for name, port in ports.items():
        if str(port) == found[1]:
            return message.replace("with --port", f"with --{name}-port")
    return message


def remember(settings: "Settings", running: "Running") -> None:
    """Tell the other commands where this process serves, and keep the key it made."""
    home.write_run(
        settings.home,
        {"pid": os.getpid(), "dials": running.dials, "urls": dict(running.urls)},
    )
    if running.new_key is not None:
        home.write_key(settings.home, running.new_key)


def say_where(settings: "Settings", running: "Running") -> None:
    """The URLs, and the key the first time."""
    simulator = running.urls.get("simulator")
    say()
    say_facts(
        [
            ("Voice API", running.urls["internal-api"] + "/docs"),
            ("Dashboard", dashboard_link(settings, running.urls["web-api"])),
            ("Webhooks", running.urls["webhook"] + "/webhooks/retell"),
            ("Simulator", simulator and simulator + "/sim"),
        ],
        indent="  ",
    )
    if running.new_key is not None:
        say()
        say_facts([("API key", styled(str(running.new_key["key"]), "bold"))], indent="  ")
        say(f"  Shown this once. The command line keeps it in {settings.home / home.CREDENTIALS}.")


def dashboard_link(settings: "Settings", url: str) -> str:
    """The dashboard's address, logged in for half a day where the key is at hand."""
    from outdial.dashboard.session import login_path  # noqa: PLC0415

    key = session.key(settings)
    return url + (login_path(settings.home, key) if key and settings.auth == "keys" else "/")


def say_json_line(settings: "Settings", running: "Running") -> None:
    """All of it as one line for a program, whatever stdout is."""
    import orjson  # noqa: PLC0415

    facts = {
        "ready": True,
        "pid": os.getpid(),
        "home": str(settings.home),
        "dials": running.dials,
        "urls": dict(running.urls),
        "key": running.new_key,
    }
    say(orjson.dumps(facts).decode())

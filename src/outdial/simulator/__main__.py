"""`python -m outdial.simulator`: the simulator as a process of its own."""

import argparse
import os
import sys
from pathlib import Path

from outdial.simulator.poster import address
from outdial.simulator.server import run
from outdial.simulator.settings import DEFAULT_API_KEY, Settings


def parse(arguments: list[str]) -> Settings:
    """The settings that a command line asks for; exits with 2 on a wrong one."""
    env = os.environ
    read = argparse.ArgumentParser(
        prog="python -m outdial.simulator",
        description="Retell's HTTP API, simulated: real requests and webhooks, no phone rings.",
    )
    read.add_argument("--host", default="127.0.0.1")
    read.add_argument("--port", type=int, default=8004, help="0 picks a free one")
    read.add_argument("--home", type=Path, default=Path(env.get("OUTDIAL_HOME", ".outdial")))
    read.add_argument("--speed", type=_positive, default=1.0, help="60: an hour in a minute")
    read.add_argument("--seed", type=int, default=1)
    read.add_argument(
        "--idempotency-window",
        type=_positive,
        metavar="SECONDS",
        default=float(env.get("OUTDIAL_IDEMPOTENCY_WINDOW", "3600")),
    )
    read.add_argument("--webhook-url", type=_url, default=env.get("OUTDIAL_SIMULATOR_WEBHOOK_URL"))
    read.add_argument("--webhook-timeout", type=_positive, default=10.0, metavar="SECONDS")
    read.add_argument("--webhook-retry", type=_positive, default=1.0, metavar="SECONDS",
                      help="wait before the second try; doubled for each later one")  # fmt: skip
    read.add_argument("--api-key", default=env.get("OUTDIAL_RETELL_API_KEY", DEFAULT_API_KEY))
    read.add_argument("--rate", type=_natural, default=1.0, help="calls a second; 0: no limit")
    read.add_argument("--concurrency", type=int, default=20, help="calls at once; 0: no limit")
    read.add_argument("--json", action="store_true", help="say the address as a line of JSON")
    read.add_argument(
        "--with-parent",
        type=int,
        nargs="?",
        const=os.getppid(),
        metavar="PID",
        help="end when this process (by default the one that started us) is our parent no more",
    )
    told = read.parse_args(arguments)
    return Settings(
        home=told.home,
        host=told.host,
        port=told.port,
        speed=told.speed,
        seed=told.seed,
        idempotency_window_s=told.idempotency_window,
        webhook_url=told.webhook_url,
        api_key=told.api_key,
        rate=told.rate,
        concurrency=told.concurrency,
        webhook_timeout_s=told.webhook_timeout,
        webhook_retry_s=told.webhook_retry,
        announce_json=told.json,
        parent_pid=told.with_parent,
    )


def _url(text: str) -> str:
    try:
        address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError("must be over 0")
    return value


def _natural(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError("must not be under 0")
    return value


if __name__ == "__main__":
    sys.exit(run(parse(sys.argv[1:])))

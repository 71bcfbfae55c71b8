"""The simulator as a child process: it speaks HTTP only, like the platform it stands for."""

import asyncio
import math
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import orjson

from outdial.config import Settings
from outdial.errors import ConfigurationError

#: What the simulator takes for a key where no other is set.
SIMULATOR_KEY = "key_simulator"
_START_SECONDS = 30
_STOP_SECONDS = 10


@asynccontextmanager
async def simulator(
    settings: Settings, *, host: str, port: int, webhook_url: str, speed: float
) -> AsyncIterator[str]:
    """Run it while the context lasts; gives its URL. It ends with this process, come what may."""
    command = [
        *(sys.executable, "-m", "outdial.simulator", "--json"),
        *("--host", host, "--port", str(port)),
        *("--home", str(settings.home), "--webhook-url", webhook_url),
        *("--speed", str(speed), "--api-key", SIMULATOR_KEY),
        *("--concurrency", str(settings.max_concurrent_calls)),
        # Its bucket and ours don't fill in step: a little room keeps them from quarrelling.
        *("--rate", str(math.ceil(settings.dial_rate * 1.5))),
        *("--idempotency-window", str(settings.idempotency_window)),
        *("--with-parent", str(os.getpid())),
    ]
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # Ctrl-C is for us: it still has to answer while we stop.
        start_new_session=True,
    )
    try:
        yield await _address(child)
    finally:
        with suppress(ProcessLookupError):
            child.terminate()
        try:
            await asyncio.wait_for(child.communicate(), _STOP_SECONDS)
        except TimeoutError:
            child.kill()
            await child.wait()


async def _address(child: asyncio.subprocess.Process) -> str:
    assert child.stdout is not None  # noqa: S101 - asked for above
    assert child.stderr is not None  # noqa: S101 - asked for above
    try:
        line = await asyncio.wait_for(child.stdout.readline(), _START_SECONDS)
        return str(orjson.loads(line)["simulator"])
    except (TimeoutError, ValueError, KeyError):
        with suppress(ProcessLookupError):
            child.terminate()
        said = (await child.stderr.read()).decode(errors="replace").strip().splitlines()
        why = said[-1] if said else "it said nothing"
        raise ConfigurationError(f"the simulator did not start: {why}") from None

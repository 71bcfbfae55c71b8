"""Running until Ctrl-C or SIGTERM: once stops cleanly, twice at once."""

import os
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from outdial.cli.output import note

if TYPE_CHECKING:
    import asyncio

FORCED = 130


def run_until_stopped(work: "Callable[[asyncio.Event], Awaitable[None]]") -> None:
    """Run `work` on uvloop; the event it is given is set by the first signal."""
    import asyncio  # noqa: PLC0415 - `--help` does without

    import uvloop  # noqa: PLC0415

    async def run() -> None:
        stop = asyncio.Event()

        def stopping() -> None:
            if stop.is_set():
                note("outdial: forced to stop; the next start goes on where this one was")
                os._exit(FORCED)
            stop.set()
            note("Stopping; what is under way is finished. Again stops at once.")

        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, stopping)
        await work(stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())

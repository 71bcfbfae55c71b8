"""Answers of Retell into the ledger, in groups: while one commit runs, the next one fills."""

import asyncio
import random
from collections.abc import Sequence

import structlog

from outdial.core.retry import Backoff
from outdial.errors import Unavailable
from outdial.ports.dialing import Answer, Dialing, Recorded
from outdial.telemetry import ALARMS

GROUP = 200
_BACKOFF = Backoff(base=0.1, ceiling=5.0)

log = structlog.get_logger(__name__)


class Recorder:
    """Records every answer; while the database is away it keeps them and tries again."""

    def __init__(self, dialing: Dialing) -> None:
        """The ledger."""
        self._dialing = dialing
        self._waiting: asyncio.Queue[tuple[Answer, asyncio.Future[Recorded]]] = asyncio.Queue()

    async def record(self, answers: Sequence[Answer]) -> None:
        """Return once all `answers` are in the ledger."""
        loop = asyncio.get_running_loop()
        waiting = []
        for answer in answers:
            future: asyncio.Future[Recorded] = loop.create_future()
            waiting.append(future)
            self._waiting.put_nowait((answer, future))
        for future in waiting:
            _tell_alarm(await future)

    async def run(self) -> None:
        """Write what waits, until cancelled."""
        while True:
            group = [await self._waiting.get()]
            while len(group) < GROUP and not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            for (_, future), one in zip(
                group, await self._write([answer for answer, _ in group]), strict=True
            ):
                if not future.done():
                    future.set_result(one)

    async def _write(self, answers: Sequence[Answer]) -> list[Recorded]:
        failures = 0
        while True:
            try:
                return await self._dialing.record(answers)
            except Unavailable as error:
                failures += 1
                log.warning("answers wait for the database", count=len(answers), cause=str(error))
                await asyncio.sleep(_BACKOFF.delay(failures, random.random()))  # noqa: S311


def _tell_alarm(recorded: Recorded) -> None:
    """A second call is ended by whoever looks for those; the alarm itself is in the ledger."""
    if recorded.alarm is not None:
        ALARMS.labels(alarm=recorded.alarm).inc()
        log.critical("alarm", alarm=recorded.alarm, attempt_id=recorded.attempt_id)

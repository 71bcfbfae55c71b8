"""Answers of Retell into the ledger, in groups: while one commit runs, the next one fills."""

import asyncio
import random
from collections.abc import Sequence

import structlog

from outdial.core.call import Alarm
from outdial.core.retry import Backoff
from outdial.core.submission import Placed
from outdial.errors import Unavailable
from outdial.ports.dialing import Answer, Dialing, Recorded
from outdial.ports.platform import VoicePlatform
from outdial.telemetry import ALARMS

GROUP = 200
_BACKOFF = Backoff(base=0.1, ceiling=5.0)

log = structlog.get_logger(__name__)


class Recorder:
    """Records every answer; while the database is away it keeps them and tries again."""

    def __init__(self, dialing: Dialing, platform: VoicePlatform) -> None:
        """`platform` is asked to stop a second call of an attempt."""
        self._dialing = dialing
        self._platform = platform
        self._waiting: asyncio.Queue[tuple[Answer, asyncio.Future[Recorded]]] = asyncio.Queue()

    async def record(self, answers: Sequence[Answer]) -> None:
        """Return once all `answers` are in the ledger, and what they alarmed of was acted on."""
        loop = asyncio.get_running_loop()
        waiting = []
        for answer in answers:
            future: asyncio.Future[Recorded] = loop.create_future()
            waiting.append((answer, future))
            self._waiting.put_nowait((answer, future))
        for answer, future in waiting:
            # Here, not in `run`: Retell is asked then, and no other answer has to wait for that.
            await self._raise_alarm(answer, await future)

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

    async def _raise_alarm(self, answer: Answer, recorded: Recorded) -> None:
        if recorded.alarm is None:
            return
        ALARMS.labels(alarm=recorded.alarm).inc()
        log.critical("alarm", alarm=recorded.alarm, attempt_id=recorded.attempt_id)
        if recorded.alarm == Alarm.DUPLICATE_DIAL and isinstance(answer.submission, Placed):
            try:
                await self._platform.stop_call(answer.submission.retell_call_id)
            except Unavailable as error:
                log.warning(
                    "second call not stopped", attempt_id=answer.attempt_id, cause=str(error)
                )

"""Hints that a call is due, sent to the call queue after the commit and apart from the request."""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from outdial.core.messages import CallHint, encode_call_hint
from outdial.errors import Unavailable
from outdial.ports.intake import Intake, NewCall
from outdial.ports.queue import Outgoing, Queue
from outdial.telemetry import HINTS_FAILED, HINTS_PUBLISHED

#: Seconds of dialing that may lie published ahead, and how many calls at least.
AHEAD_SECONDS = 180
LEAST_AHEAD = 100
#: Seconds for which a look at what lies ahead is good.
LOOK_SECONDS = 1.0
#: Seconds without publishing after the queue failed: the relay takes over.
REST_SECONDS = 5.0
#: Seconds that the last hints get at the end.
FLUSH_SECONDS = 5.0

_MOST_AT_ONCE = 1000
_GIVE_BACK_TRIES = 5

_log = structlog.get_logger(__name__)
_published = HINTS_PUBLISHED.labels("internal-api")
_failed = HINTS_FAILED.labels("internal-api")


class Hints:
    """Sends hints in the background; what the queue does not take goes to the relay."""

    def __init__(
        self,
        intake: Intake,
        queue: Queue,
        dial_rate: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`dial_rate` in calls a second; `clock` in seconds."""
        self._intake = intake
        self._queue = queue
        self._clock = clock
        self._ahead = max(LEAST_AHEAD, int(dial_rate * AHEAD_SECONDS))
        self._room = 0
        self._looked_at = float("-inf")
        self._rest_until = float("-inf")
        self._waiting: list[NewCall] = []
        self._sending: list[NewCall] = []
        self._sender: asyncio.Task[None] | None = None

    async def room_for(self, count: int) -> bool:
        """Whether `count` more calls may be marked as published; if so, they are counted.

        False where much lies ahead already, dialing is stopped, or the queue is away.
        """
        now = self._clock()
        if now < self._rest_until:
            return False
        if now - self._looked_at >= LOOK_SECONDS:
            ahead = await self._intake.published_ahead()
            self._looked_at = now
            self._room = 0 if ahead is None else self._ahead - ahead
        if count > self._room:
            return False
        self._room -= count
        return True

    def offer(self, calls: Sequence[NewCall]) -> None:
        """Send their hints soon: they are marked as published."""
        self._waiting.extend(calls)
        if self._waiting and (self._sender is None or self._sender.done()):
            self._sender = asyncio.create_task(self._send_all())

    async def close(self) -> None:
        """Send what waits; give back what can't be sent in time."""
        if self._sender is None:
            return
        _, late = await asyncio.wait({self._sender}, timeout=FLUSH_SECONDS)
        if late:
            self._sender.cancel()
            await asyncio.wait({self._sender})
            await self._give_back(self._sending + self._waiting, tries=1)

    async def _send_all(self) -> None:
        while self._waiting:
            self._sending = self._waiting[:_MOST_AT_ONCE]
            del self._waiting[:_MOST_AT_ONCE]
            try:
                await self._queue.send([_message(call) for call in self._sending])
            except Unavailable as error:
                _log.warning("call queue away", detail=error.detail, hints=len(self._sending))
                _failed.inc(len(self._sending))
                self._rest_until = self._clock() + REST_SECONDS
                await self._give_back(self._sending, tries=_GIVE_BACK_TRIES)
            else:
                _published.inc(len(self._sending))
            self._sending = []

    async def _give_back(self, calls: Sequence[NewCall], tries: int) -> None:
        """Leave them to the relay. Should that fail, it finds them by their age."""
        for tried in range(tries):
            try:
                await self._intake.unpublish([call.id for call in calls])
            except Unavailable as error:
                _log.warning("hints not given back", detail=error.detail, hints=len(calls))
                if tried + 1 < tries:
                    await asyncio.sleep(2.0**tried)
            else:
                return


def _message(call: NewCall) -> Outgoing:
    return Outgoing(
        encode_call_hint(CallHint(call.id)), group=f"{call.tenant}/{call.campaign or ''}"
    )

"""Due calls to the call queue, a few minutes of dialing ahead of the call processors.

A message is only a hint that a call is due. So a hint sent twice does no harm, and one that was
lost, by a crash between the commit and the sending, is sent again: at once where the queue is
empty, after the republish time where it holds fewer hints than calls are published.
"""

import math
import time
from collections.abc import Callable, Sequence

import structlog

from outdial.core.messages import CallHint, encode_call_hint
from outdial.errors import Unavailable
from outdial.ports.outbox import DueCall, DueCalls
from outdial.ports.queue import Outgoing, Queue
from outdial.telemetry import HINTS_FAILED, HINTS_PUBLISHED

log = structlog.get_logger(__name__)

STAGE = "relay"
#: Hints given to the queue at once; after a failure so many are sent twice at most.
_CHUNK = 500
#: Seconds between two looks at what the queue holds.
_LOOK_S = 2.5
#: Seconds of peace after hints were sent again: SQS counts its messages up to a minute late.
_PEACE_S = 60.0
#: A hint this much older than the empty queue cannot still be on its way to it.
_LOST_AFTER_MS = 5_000


def calls_ahead(dial_rate: float) -> int:
    """How many calls to have published and unclaimed: three minutes of dialing, at least 100."""
    return max(100, math.ceil(dial_rate * 180))


class Publishing:
    """Publishes due calls; `round` is repeated by the stage."""

    def __init__(
        self,
        due: DueCalls,
        queue: Queue,
        *,
        ahead: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ahead`: calls to have published and unclaimed. `monotonic`: seconds."""
        self._due = due
        self._queue = queue
        self._ahead = ahead
        self._monotonic = monotonic
        self._unsent: Sequence[str] = ()
        self._empty_looks = 0
        self._next_look = 0.0
        self._peace_until = 0.0

    async def round(self) -> int:
        """Publish what is due; how many calls were moved. Raises `Unavailable`."""
        await self.give_back()
        promoted = await self._due.promote()
        due = await self._due.lease_due(self._ahead)
        for start in range(0, len(due), _CHUNK):
            await self._send(due, start)
        await self._look_for_lost_hints()
        return promoted + len(due)

    async def give_back(self) -> None:
        """Have those published again that the queue did not take."""
        if self._unsent:
            await self._due.unpublish(self._unsent)
            self._unsent = ()

    async def _send(self, due: Sequence[DueCall], start: int) -> None:
        chunk = due[start : start + _CHUNK]
        hints = [Outgoing(encode_call_hint(CallHint(each.call_id)), each.group) for each in chunk]
        try:
            await self._queue.send(hints)
        except Unavailable:
            self._unsent = [each.call_id for each in due[start:]]
            HINTS_FAILED.labels(STAGE).inc(len(self._unsent))
            await self.give_back()
            raise
        HINTS_PUBLISHED.labels(STAGE).inc(len(chunk))

    async def _look_for_lost_hints(self) -> None:
        now = self._monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        depth = await self._queue.depth()
        held = depth.visible + depth.in_flight + depth.delayed
        lost = await self._due.republish_old_hints(held)
        if lost:
            log.warning("lost_hints", calls=lost, held=held)
        if held or now < self._peace_until:
            self._empty_looks = 0
            return
        self._empty_looks += 1
        if self._empty_looks < 2:
            return
        self._empty_looks = 0
        lost = await self._due.republish_lost_hints(_LOST_AFTER_MS)
        if lost:
            log.warning("lost_hints", calls=lost)
            self._peace_until = now + _PEACE_S

"""Takes Retell's webhooks from the event queue into the ledger, in any order, once.

`call_started` tells "call started"; `call_ended` is kept, and frees its line; `call_analyzed`
brings the details and tells the end, in one commit. The ledger decides; this stage opens the
envelopes, hands over batches, and cleans up what was parked.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
import structlog

from outdial.consumer import Consumer, Verdict
from outdial.core.call import Alarm
from outdial.core.messages import EventMessage, MalformedMessageError, decode_event, open_payload
from outdial.errors import AlreadyDone, OutdialError, Poison, Unavailable
from outdial.ports.inbox import Inbox, Incoming, Taken
from outdial.ports.parking import Parking
from outdial.ports.platform import VoicePlatform
from outdial.ports.queue import Queue, Received
from outdial.telemetry import ALARMS, PROVIDER_EVENTS

#: Events taken in one transaction, and transactions under way at once.
BATCH = 100
CONCURRENCY = 2
#: Seconds until another process takes the events that a killed one had in hand; renewed meanwhile.
VISIBILITY = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A message whose webhook is at hand."""

    message: EventMessage
    incoming: Incoming


class WebhookProcessor:
    """The stage. `platform` is asked only to stop a second call of one attempt."""

    def __init__(
        self, inbox: Inbox, queue: Queue, parking: Parking, platform: VoicePlatform
    ) -> None:
        """All four are ports."""
        self._inbox = inbox
        self._queue = queue
        self._parking = parking
        self._platform = platform
        self.consumer = Consumer(
            queue,
            self._handle,
            stage="webhook-processor",
            concurrency=CONCURRENCY,
            batch=BATCH,
            visibility=VISIBILITY,
            probe=self._probe,
        )

    async def run(self) -> None:
        """Process until `stop`."""
        await self.consumer.run()

    async def stop(self, grace: float = 10.0) -> None:
        """Take no more; what is in hand gets `grace` seconds."""
        await self.consumer.stop(grace)

    async def ready(self) -> None:
        """Raise where events can't be processed now, saying why."""
        state = self.consumer.state
        if state.name in {"waiting", "halted"}:
            raise Unavailable("webhook processor", f"{state.name}: {state.detail}")

    async def _probe(self) -> None:
        await self._inbox.seen("", "", "")

    async def _handle(self, messages: Sequence[Received]) -> Sequence[Verdict]:
        opened = await asyncio.gather(*(self._open(message) for message in messages))
        good = [one for one in opened if isinstance(one, _Opened)]
        taken = iter(await self._inbox.take([one.incoming for one in good]) if good else [])
        verdicts: list[Verdict] = []
        for one in opened:
            if isinstance(one, OutdialError):
                verdicts.append(one)
            else:
                await self._finish(one.message, next(taken))
                verdicts.append(None)
        return verdicts

    async def _open(self, received: Received) -> _Opened | OutdialError:
        try:
            message = decode_event(received.body, orjson.loads)
            if message.encoding == "parked":
                return await self._fetch(message)
            body = open_payload(message)
        except MalformedMessageError as error:
            return Poison(f"no event message: {error}")
        return _Opened(message, Incoming(body, message.sha256, message.received_at))

    async def _fetch(self, message: EventMessage) -> _Opened | OutdialError:
        try:
            body = await self._parking.get(message.payload)
            if body is not None:
                return _Opened(message, Incoming(body, message.sha256, message.received_at))
            # Removed after it was processed, by whoever did and could not delete the message.
            if await self._inbox.seen(message.retell_call_id, message.event, message.sha256):
                return AlreadyDone("parked payload is gone, and the event is in the inbox")
        except Unavailable as error:
            return error
        except ValueError as error:
            return Poison(f"no parking key: {error}")
        return Poison(f"parked payload {message.payload} is gone, and its event was never taken")

    async def _finish(self, message: EventMessage, taken: Taken) -> None:
        PROVIDER_EVENTS.labels(event=_known(message.event), disposition=taken.disposition).inc()
        if taken.alarm is not None:
            ALARMS.labels(alarm=taken.alarm).inc()
            log.critical("alarm", alarm=taken.alarm, call_id=taken.call_id)
        try:
            if taken.alarm == Alarm.DUPLICATE_DIAL:
                await self._platform.stop_call(message.retell_call_id)
            if message.encoding == "parked":
                await self._parking.delete(message.payload)
        except Unavailable as error:
            # The event itself is safe; a blob left behind expires, an alarm stays raised.
            log.warning("not cleaned up", cause=str(error), call_id=taken.call_id)


def _known(event: str) -> str:
    """Labels of a metric must not grow with what others send."""
    known = {"call_started", "call_ended", "call_analyzed"}
    return event if event in known else "other"

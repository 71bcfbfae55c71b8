"""The stage: from a hint in the queue to an answer in the ledger."""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from outdial.call_processor.dialer import Dialer, DialTimes
from outdial.call_processor.doubts import Doubts
from outdial.call_processor.gauge import Gauge
from outdial.call_processor.recorder import Recorder
from outdial.call_processor.watch import Watch, dialing
from outdial.consumer import Consumer, Retry, Verdict
from outdial.core.messages import MalformedMessageError, decode_call_hint
from outdial.errors import Poison, Unavailable
from outdial.ports.dialing import Claim, Dialing, NotClaimed
from outdial.ports.platform import VoicePlatform
from outdial.ports.queue import Queue, Received
from outdial.telemetry import PERMITS_FREE

__all__ = ["CallProcessor", "DialTimes"]

#: Hints taken and claimed in one transaction.
BATCH = 50
#: Batches in hand at once; the permits are the real limit, and a slow answer must not use them up.
CONCURRENCY = 1000
#: Seconds until another process takes the hints that a killed one had in hand, however short a
#: lease is; renewed meanwhile.
_LEAST_VISIBILITY = 5.0

log = structlog.get_logger(__name__)


class CallProcessor:
    """Dials due calls, as many as permits allow."""

    def __init__(
        self,
        ledger: Dialing,
        platform: VoicePlatform,
        queue: Queue,
        times: DialTimes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` in seconds, monotonic: this worker's own."""
        self._dialing = ledger
        self._clock = clock
        self._recorder = Recorder(ledger)
        self._dialer = Dialer(ledger, platform, times, clock)
        self._doubts = Doubts(ledger, platform, self._settle)
        self._others = (Gauge(ledger, platform), self._doubts, Watch(ledger))
        #: Hints received and not yet claimed: each may take a permit that still looks free.
        self._received = 0
        self.consumer = Consumer(
            queue,
            self._handle,
            stage="call-processor",
            limit=self._limit,
            concurrency=CONCURRENCY,
            batch=BATCH,
            visibility=max(_LEAST_VISIBILITY, times.lease),
            probe=self._probe,
        )

    @property
    def in_hand(self) -> int:
        """Hints and doubts it is at work on."""
        return self.consumer.in_hand + self._doubts.in_hand

    async def run(self) -> None:
        """Dial until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            recording = tasks.create_task(self._recorder.run())
            others = [tasks.create_task(work.run()) for work in self._others]
            try:
                await self.consumer.run()
            finally:
                for task in (*others, recording):
                    task.cancel()

    async def stop(self, grace: float = 10.0) -> None:
        """Take no more hints; what is being submitted gets `grace` seconds for its answer."""
        await self.consumer.stop(grace)

    async def ready(self) -> str | None:
        """Raise where no call can be dialed now, saying why; else what a person should know."""
        state = self.consumer.state
        if state.name in {"waiting", "halted"}:
            raise Unavailable("call processor", f"{state.name}: {state.detail}")
        return dialing(await self._dialing.status())

    async def _probe(self) -> None:
        await self._dialing.permits()

    async def _limit(self) -> int:
        permits = await self._dialing.permits()
        PERMITS_FREE.set(permits.free)
        free = permits.free - self._received
        if free < 1:
            # The next permit comes by the clock, or by somebody who lets dialing go on; asking
            # the database every moment finds none.
            await asyncio.sleep(min(permits.wait_ms, 1000) / 1000)
        return max(0, free)

    async def _handle(self, messages: Sequence[Received]) -> Sequence[Verdict]:
        hints: dict[str, str] = {}
        poison: dict[str, Poison] = {}
        for message in messages:
            try:
                hints[message.id] = decode_call_hint(message.body).call_id
            except MalformedMessageError as error:
                poison[message.id] = Poison(f"no call message: {error}")
        verdicts = await self._dial(list(dict.fromkeys(hints.values())))
        return [poison.get(m.id) or verdicts[hints[m.id]] for m in messages]

    async def _dial(self, call_ids: Sequence[str]) -> dict[str, Verdict]:
        if not call_ids:
            return {}
        self._received += len(call_ids)
        try:
            asked_at = self._clock()
            answers = await self._dialing.claim(call_ids)
        finally:
            self._received -= len(call_ids)
        claims = [answer for answer in answers if isinstance(answer, Claim)]
        verdicts: dict[str, Verdict] = {}
        for answer in answers:
            if isinstance(answer, NotClaimed) and answer.retry_ms is not None:
                verdicts[answer.call_id] = Retry(answer.retry_ms / 1000)
            else:
                verdicts[answer.call_id] = None
        await asyncio.gather(*(self._carry_out(claim, asked_at) for claim in claims))
        return verdicts

    async def _settle(self, claim: Claim) -> None:
        """What another owner left: its time counts from here, for it is looked up first."""
        await self._carry_out(claim, self._clock())

    async def _carry_out(self, claim: Claim, claimed_at: float) -> None:
        try:
            answers = await self._dialer.dial(claim, claimed_at)
        except asyncio.CancelledError:
            # Stopped while Retell was being asked. The lease passes on by itself; the next owner
            # looks the attempt up before anything else.
            log.info("interrupted", call_id=claim.call_id, attempt_id=claim.attempt_id)
            raise
        await self._recorder.record(answers)

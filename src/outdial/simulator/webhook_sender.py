"""Webhooks: signed, tried four times, then lost for good; misbehaving as the faults say.

Events of a call are triggered in their order, but none waits for another to arrive.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from outdial.core.signature import HEADER, TOLERANCE_MS, sign
from outdial.simulator.calls import ANALYSED, EVENT_NAMES, OVER, Call
from outdial.simulator.clock import wall_ms
from outdial.simulator.faults import Faults
from outdial.simulator.payloads import event_body
from outdial.simulator.poster import Poster
from outdial.simulator.scenarios import chance
from outdial.simulator.settings import Settings

TRIES = 4
_CONNECTIONS = 256
_AFTER_NEXT_S = 0.15
_DUPLICATE_WITHIN_S = 0.8
_DELAY_FROM_S, _DELAY_TO_S = 1.0, 5.0


@dataclass(frozen=True, slots=True)
class _Delivery:
    call: Call
    bit: int
    tried: int
    generation: int
    extra: bool
    """A duplicate: sent once, whatever comes of it."""


class WebhookSender:
    """Sends a workspace's events; tells `settled` when no more is to be sent of one."""

    def __init__(
        self,
        settings: Settings,
        faults: Callable[[], Faults],
        count: Callable[[str], None],
        settled: Callable[[Call, int], None],
    ) -> None:
        """`faults` gives those in force; `count` counts by name."""
        self.pending = 0
        self._settings = settings
        self._faults = faults
        self._count = count
        self._settled = settled
        self._queue: deque[_Delivery] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._generation = 0
        self._heard: dict[str, asyncio.Event] = {}
        self._poster = Poster(settings.webhook_timeout_s)

    async def close(self) -> None:
        """Stop sending; what is unsent stays in the store."""
        self.forget()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._poster.close()

    def forget(self) -> None:
        """Drop everything that waits to be sent."""
        self._generation += 1
        self._queue.clear()
        self.pending = 0

    def announce(self, call: Call, bit: int) -> None:
        """An event happened: send it, as far as the faults allow."""
        if self._url(call) is None:
            self._end(call, bit)
            return
        self.pending += 1
        faults = self._faults()
        name = EVENT_NAMES[bit]

        def struck(fault: str, share: float) -> bool:
            return share > 0 and chance(call.dice, fault, name, call.analyses) < share

        first = _Delivery(call, bit, 0, self._generation, extra=False)
        if struck("drop", faults.drop):
            self._count("webhooks.dropped")
            self._finish(first)
            return
        wait_s = 0.0
        if struck("reorder", faults.reorder) and bit != ANALYSED:
            following = call.analyzed_at if bit == OVER else call.end_at
            wait_s = max(following - wall_ms(), 0) / 1000 + _AFTER_NEXT_S
        if struck("delay", faults.delay):
            late = chance(call.dice, "late", name)
            wait_s += _DELAY_FROM_S + late * (_DELAY_TO_S - _DELAY_FROM_S)
        self._send_in(wait_s, first)
        if struck("duplicate", faults.duplicate):
            again_s = chance(call.dice, "again", name) * _DUPLICATE_WITHIN_S
            self._send_in(wait_s + again_s, _Delivery(call, bit, 0, self._generation, extra=True))

    async def first_try(self, call: Call, announce: Callable[[], None], most_s: float) -> None:
        """Run `announce` and wait until the call's first event was tried once, or `most_s`."""
        heard = self._heard[call.call_id] = asyncio.Event()
        announce()
        try:
            await asyncio.wait_for(heard.wait(), most_s)
        except TimeoutError:
            return
        finally:
            self._heard.pop(call.call_id, None)

    def _send_in(self, wait_s: float, delivery: _Delivery) -> None:
        if wait_s > 0:
            asyncio.get_running_loop().call_later(wait_s, self._enqueue, delivery)
        else:
            self._enqueue(delivery)

    def _enqueue(self, delivery: _Delivery) -> None:
        if delivery.generation != self._generation:
            return
        self._queue.append(delivery)
        if len(self._workers) < _CONNECTIONS:
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        while self._queue:
            delivery = self._queue.popleft()
            taken = await self._deliver(delivery)
            if delivery.generation == self._generation:
                self._judge(delivery, taken=taken)

    def _judge(self, delivery: _Delivery, *, taken: bool) -> None:
        self._count("webhooks.acknowledged" if taken else "webhooks.failed")
        heard = self._heard.get(delivery.call.call_id)
        if heard is not None:
            heard.set()
        if delivery.extra:
            return
        tried = delivery.tried + 1
        if taken:
            self._finish(delivery)
        elif tried == TRIES:
            self._count("webhooks.lost")
            self._finish(delivery)
        else:
            again = _Delivery(delivery.call, delivery.bit, tried, delivery.generation, extra=False)
            self._send_in(self._settings.webhook_retry_s * 2 ** (tried - 1), again)

    def _finish(self, delivery: _Delivery) -> None:
        self.pending -= 1
        self._end(delivery.call, delivery.bit)

    def _end(self, call: Call, bit: int) -> None:
        heard = self._heard.get(call.call_id)
        if heard is not None:
            heard.set()
        self._settled(call, bit)

    async def _deliver(self, delivery: _Delivery) -> bool:
        url = self._url(delivery.call)
        if url is None:
            return True
        body = event_body(delivery.call, delivery.bit)
        headers = self._signature(delivery, body)
        self._count("webhooks.sent")
        try:
            status = await self._poster.post(url, headers, body)
        except OSError:
            return False
        return 200 <= status < 300

    def _signature(self, delivery: _Delivery, body: bytes) -> dict[str, str]:
        key, now_ms = self._settings.api_key, wall_ms()
        share = self._faults().bad_signature
        dice = delivery.call.dice
        where = (EVENT_NAMES[delivery.bit], delivery.tried, delivery.extra)
        if share and chance(dice, "bad_signature", *where) < share:
            kind = chance(dice, "kind of signature", *where)
            if kind < 1 / 3:
                return {}
            if kind < 2 / 3:
                return {HEADER: sign(key, body, now_ms - TOLERANCE_MS - 60_000)}
            key += "!"
        return {HEADER: sign(key, body, now_ms)}

    def _url(self, call: Call) -> str | None:
        if b'"webhook_url"' in call.extras:
            url: str = orjson.loads(call.extras)["webhook_url"]
            return url
        return self._settings.webhook_url

"""The simulated workspace: places calls, lets them happen, answers for them."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import orjson

from outdial.simulator.calls import ANALYSED, Call, Stage
from outdial.simulator.clock import Clock, wall_ms
from outdial.simulator.faults import Faults
from outdial.simulator.limits import Limits
from outdial.simulator.payloads import call_object
from outdial.simulator.placing import new_call
from outdial.simulator.requests import ApiError, CreateCall, read_create, read_update
from outdial.simulator.scenarios import (
    MAGIC_DO_NOT_CALL,
    MAGIC_ERROR_AFTER_COMMIT,
    MAGIC_LOST_RESPONSE,
    chance,
    dice_for,
    draw,
    magic_outcome,
    magic_status,
    refused,
)
from outdial.simulator.settings import Settings
from outdial.simulator.store import Store
from outdial.simulator.webhook_sender import WebhookSender

_MESSAGES = {
    400: "Invalid request",
    401: "Invalid API Key",
    402: "Trial has ended, please add a payment method",
    403: "This agent is blocked",
    422: "Asset not found under this API key",
    429: "Rate limited",
    500: "Internal server error",
}
_HANG_SHARE = 1 / 8
_FIRST_WEBHOOK_S = 2.0


class Answer(NamedTuple):
    """An HTTP answer; `lost` tells the server to reset the connection or to hang instead."""

    status: int
    body: bytes
    lost: str | None = None


class Platform:
    """One workspace. Belongs to one event loop; only calls not yet settled are in memory."""

    def __init__(self, settings: Settings) -> None:
        """Open the state in `settings.home`; `open()` lets its calls go on."""
        self.settings = settings
        self.clock = Clock(settings.speed)
        self.limits = Limits(settings.rate, settings.concurrency)
        self.store = Store(settings.home)
        self.faults = Faults().merged(self.store.noted("faults"))
        self.sender = WebhookSender(
            settings, lambda: self.faults, self.store.count, self._on_settled
        )
        self._live: dict[str, Call] = {}
        self._placing: dict[str, tuple[Call, asyncio.Future[None]]] = {}
        self._dialing: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        # For what has no call to draw from: tries that place nothing.
        self._random = Random(settings.seed)  # noqa: S311 - a reproducible story, no secret

    def open(self) -> None:
        """Go on with the calls and webhooks that an earlier process left."""
        now_ms = wall_ms()
        for call in self.store.open_calls():
            self._live[call.call_id] = call
            call.told = call.settled
            if call.rang and now_ms < call.end_at:
                self.limits.running.add(call.call_id)
            self._advance(call)

    async def close(self) -> None:
        """Stop; everything needed to go on is in the store."""
        for timer in self._timers.values():
            timer.cancel()
        await self.sender.close()
        self.store.close()

    def reset(self) -> None:
        """Forget calls, keys, webhooks, counts and faults."""
        for timer in self._timers.values():
            timer.cancel()
        for memory in (self._timers, self._live, self._placing, self._dialing):
            memory.clear()
        self.sender.forget()
        self.store.clear()
        self.limits.running.clear()
        self.faults = Faults()
        self._random = Random(self.settings.seed)  # noqa: S311 - as above

    def set_faults(self, changes: object) -> None:
        """Change some faults; raises FaultError."""
        self.faults = self.faults.merged(changes)
        self.store.note("faults", self.faults.as_json())

    # Placing

    async def create(self, body: bytes) -> Answer:
        """`POST /v2/create-phone-call`; raises ApiError for what is refused."""
        if self.faults.lost_request and self._random.random() < self.faults.lost_request:
            self.store.count("creates.lost_request")
            return Answer(201, b"", "reset")
        try:
            answer = await self._create(body)
        except ApiError as error:
            self.store.count(f"creates.{error.status}")
            raise
        self.store.count(f"creates.{answer.lost or answer.status}")
        return answer

    async def _create(self, body: bytes) -> Answer:
        faults = self.faults
        if faults.create_status:
            raise _error(faults.create_status)
        asked = read_create(body)
        status = magic_status(asked.to_number)
        if status is not None:
            raise _error(status)
        if asked.honor_dnc and asked.to_number == MAGIC_DO_NOT_CALL:
            raise ApiError(400, "The contact is marked do_not_call")
        if faults.rate_limited and self._random.random() < faults.rate_limited:
            raise _error(429)
        if asked.idempotency_key is not None:
            replayed = await self._replay(asked.idempotency_key)
            if replayed is not None:
                return self._answer(replayed, lambda _: self._random.random())
        call = self._call(asked, self._limited())
        await self._keep(call)
        if call.webhook_first:
            await self.sender.first_try(call, lambda: self._advance(call), _FIRST_WEBHOOK_S)
        else:
            self._advance(call)
        if asked.to_number == MAGIC_LOST_RESPONSE:
            return Answer(201, b"", _loss(call))
        if asked.to_number == MAGIC_ERROR_AFTER_COMMIT:
            raise _error(500)
        return self._answer(call, lambda fault: chance(call.dice, fault))

    async def _replay(self, key: str) -> Call | None:
        placing = self._placing.get(key)
        if placing is not None:
            call, committed = placing
            await asyncio.shield(committed)
        else:
            since_ms = wall_ms() - round(self.settings.idempotency_window_s * 1000)
            found = self.store.by_key(key, since_ms)
            if found is None:
                return None
            call = self._live.get(found.call_id, found)
        self.store.count("keys_replayed")
        return call

    def _limited(self) -> bool:
        """Whether a limit ends the call after accepting it; raises ApiError 429 if it refuses."""
        refusal = self.limits.refusal(time.monotonic())
        if refusal is None:
            return False
        if self.faults.limit_mode == "reject":
            raise ApiError(429, refusal)
        return True

    def _call(self, asked: CreateCall, limited: bool) -> Call:  # noqa: FBT001 - one caller
        seed, number = self.settings.seed, asked.to_number
        now_ms = wall_ms()
        if limited:
            dial = -1
            scenario = refused(dice_for(seed, number, "refused", now_ms))
        else:
            dial = self._dialing.get(number, -1) + 1 or self.store.dials(number)
            dice = dice_for(seed, number, dial)
            scenario = draw(dice, asked.outcome or magic_outcome(number), asked.talk_ms)
        share = self.faults.webhook_first
        first = share > 0 and chance(scenario.dice, "webhook_first") < share
        return new_call(
            asked, scenario, self.clock, seq=self.store.next_seq(), dial=dial, at_ms=now_ms,
            rang=not limited, webhook_first=first,
        )  # fmt: skip

    async def _keep(self, call: Call) -> None:
        key, number = call.idempotency_key, call.to_number
        committed = self.store.insert(call)
        self._live[call.call_id] = call
        if call.rang:
            self.limits.running.add(call.call_id)
            self._dialing[number] = call.dial
        if key is not None:
            self._placing[key] = (call, committed)
        try:
            await asyncio.shield(committed)
        except sqlite3.Error as error:
            self._live.pop(call.call_id, None)
            self.limits.running.discard(call.call_id)
            raise ApiError(500, f"The simulator cannot write its state: {error}") from None
        finally:
            if key is not None:
                self._placing.pop(key, None)
            if self._dialing.get(number) == call.dial:
                self._dialing.pop(number, None)

    def _answer(self, call: Call, roll: Callable[[str], float]) -> Answer:
        """The 201, or what becomes of it; `roll` draws a number in [0, 1) for a fault."""
        if roll("lost_response") < self.faults.lost_response:
            return Answer(201, b"", _loss(call))
        if roll("error_after_commit") < self.faults.error_after_commit:
            raise _error(500)
        return Answer(201, orjson.dumps(call_object(call, Stage.REGISTERED)))

    # Reading and changing

    def find(self, call_id: str) -> Call:
        """The call of that id; raises ApiError 422 if there is none or it was deleted."""
        call = self._live.get(call_id) or self.store.get(call_id)
        if call is None or call.deleted:
            raise ApiError(422, f"Call {call_id} not found")
        return call

    def told(self, call: Call) -> dict[str, Any]:
        """The call object as of now."""
        return call_object(call, call.stage(wall_ms()))

    async def stop(self, call_id: str) -> None:
        """Hang up; a call that is over stays as it is."""
        call = self.find(call_id)
        now_ms = wall_ms()
        stage = call.stage(now_ms)
        if stage >= Stage.ENDED:
            return
        if call.start_at is not None and stage is Stage.ONGOING:
            call.final_status = "ended"
            call.talk_ms = min(self.clock.told(now_ms - call.start_at), call.talk_ms)
            call.plot = "error"
        else:
            call.final_status, call.outcome, call.start_at, call.talk_ms = (
                "not_connected", "failed", None, 0,
            )  # fmt: skip
        call.reason = "manual_stopped"
        call.analyzed_at += now_ms - call.end_at
        call.end_at = now_ms
        self._wake_later(call, None)
        await self.store.update(call)
        self._advance(call)

    async def update(self, call_id: str, body: bytes) -> dict[str, Any]:
        """`PATCH /v2/update-call`: of calls that are over only."""
        call = self.find(call_id)
        if call.stage(wall_ms()) < Stage.ENDED:
            raise ApiError(400, "Cannot update an ongoing call")
        metadata, call.extras = read_update(body, call.extras)
        if metadata is not None:
            call.metadata = metadata
        await self.store.update(call, metadata=metadata is not None)
        return self.told(call)

    async def delete(self, call_id: str) -> None:
        """Delete a call from the API's sight; `/sim/dials` still tells that it was dialed."""
        call = self.find(call_id)
        call.deleted = True
        await self.store.update(call)

    async def analyse_again(self, call_id: str) -> dict[str, Any]:
        """`PUT /rerun-call-analysis`: `call_analyzed` is told again, with other content."""
        call = self.find(call_id)
        now_ms = wall_ms()
        if call.stage(now_ms) < (Stage.ANALYZED if call.to_be_analysed else Stage.ENDED):
            raise ApiError(400, "The call is not analyzed yet")
        if call.to_be_analysed:
            call.analyses += 1
        else:
            extras = orjson.loads(call.extras)
            del extras["analysis"]
            call.extras = orjson.dumps(extras)
        call.analyzed_at = now_ms
        call.told = call.settled = call.settled & ~ANALYSED
        call.open = True
        self._live[call.call_id] = call
        await self.store.update(call)
        self._advance(call)
        return self.told(call)

    # What happens to a call

    def _advance(self, call: Call) -> None:
        """Let everything happen that is due, and wake again for what is next."""
        self._wake_later(call, None)
        if call.call_id not in self._live:
            return  # a reset came between
        now_ms = wall_ms()
        if now_ms >= call.end_at:
            self.limits.running.discard(call.call_id)
        for bit, at in call.events():
            if call.told & bit:
                continue
            if at > now_ms:
                self._wake_later(call, at - now_ms)
                return
            call.told |= bit
            self.sender.announce(call, bit)

    def _wake_later(self, call: Call, wait_ms: int | None) -> None:
        timer = self._timers.pop(call.call_id, None)
        if timer is not None:
            timer.cancel()
        if wait_ms is not None:
            loop = asyncio.get_running_loop()
            self._timers[call.call_id] = loop.call_later(wait_ms / 1000, self._advance, call)

    def _on_settled(self, call: Call, bit: int) -> None:
        call.settled |= bit
        if all(call.settled & event for event, _ in call.events()):
            call.open = False
            self._live.pop(call.call_id, None)
        self.store.update_lazily(call)


def _error(status: int) -> ApiError:
    return ApiError(status, _MESSAGES.get(status, "The request failed"))


def _loss(call: Call) -> str:
    hangs = b'"hang":true' in call.extras or chance(call.dice, "hang") < _HANG_SHARE
    return "hang" if hangs else "reset"

"""The voice platform in memory: dials nobody, and answers what a test scripts."""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from outdial.core.retell_events import ATTEMPT_KEY, CALL_KEY, DEPLOYMENT_KEY
from outdial.core.submission import Placed, Submission, Unanswered
from outdial.errors import Unavailable
from outdial.ports.platform import Concurrency, ListedCall

_UNDER_WAY = frozenset({"registered", "ongoing"})


@dataclass(frozen=True, slots=True)
class LostAnswer:
    """The call is placed, and the answer never comes."""


@dataclass(frozen=True, slots=True)
class Dial:
    """One call really placed. `at` in ms."""

    retell_call_id: str
    body: Mapping[str, Any]
    at: int


def _wall_clock() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class MemoryPlatform:
    """Honours idempotency keys like Retell.

    `script`: what the next submissions come to, one each: an answer given instead of dialing, or
    `LostAnswer`. `away`: nothing is reached. `before_answer`: awaited with the call's id between
    placing it and answering. `calls`: call objects by id; a test edits them to let calls go on.
    """

    clock: Callable[[], int] = _wall_clock
    idempotency_window_ms: int = 3_600_000
    limit: int = 20
    reserved_inbound: int = 0
    away: bool = False
    script: deque[Submission | LostAnswer] = field(default_factory=deque)
    before_answer: Callable[[str], Awaitable[None]] | None = None
    calls: dict[str, dict[str, Any]] = field(default_factory=dict)
    dials: list[Dial] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    _by_key: dict[str, Dial] = field(default_factory=dict)

    async def submit(self, body: Mapping[str, Any], timeout: float) -> Submission:
        """See the port."""
        if self.away:
            return Unanswered("the platform is away")
        scripted = self.script.popleft() if self.script else None
        if scripted is not None and not isinstance(scripted, LostAnswer):
            return scripted
        call_id = self._placed(body)
        if isinstance(scripted, LostAnswer):
            return Unanswered("the answer was lost")
        if self.before_answer is not None:
            try:
                async with asyncio.timeout(timeout):
                    await self.before_answer(call_id)
            except TimeoutError:
                return Unanswered(f"no answer within {timeout:g} s")
        return Placed(call_id)

    async def find_attempt(self, attempt_id: str) -> list[str]:
        """See the port."""
        self._reach()
        return [
            call_id
            for call_id, call in self.calls.items()
            if (call.get("metadata") or {}).get(ATTEMPT_KEY) == attempt_id
        ]

    async def get_call(self, retell_call_id: str) -> dict[str, Any] | None:
        """See the port."""
        self._reach()
        call = self.calls.get(retell_call_id)
        return None if call is None else dict(call)

    async def calls_of(
        self, deployment: str, *, newest_first: bool = False
    ) -> AsyncIterator[list[ListedCall]]:
        """See the port."""
        self._reach()
        calls = list(self.calls.items())
        for call_id, call in reversed(calls) if newest_first else calls:
            metadata = call.get("metadata") or {}
            if metadata.get(DEPLOYMENT_KEY) == deployment:
                ids = (metadata.get(CALL_KEY), metadata.get(ATTEMPT_KEY))
                yield [ListedCall(call_id, *ids, call.get("start_timestamp"))]

    async def stop_call(self, retell_call_id: str) -> None:
        """See the port."""
        self._reach()
        call = self.calls.get(retell_call_id)
        if call is not None and call["call_status"] in _UNDER_WAY:
            call |= {"call_status": "ended", "disconnection_reason": "manual_stopped"}
            self.stopped.append(retell_call_id)

    async def concurrency(self) -> Concurrency:
        """See the port."""
        self._reach()
        current = sum(call["call_status"] in _UNDER_WAY for call in self.calls.values())
        return Concurrency(current, self.limit, self.reserved_inbound)

    async def close(self) -> None:
        """See the port."""

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("Retell", "the platform is away")

    def _placed(self, body: Mapping[str, Any]) -> str:
        now, key = self.clock(), body.get("idempotency_key")
        before = self._by_key.get(key) if key is not None else None
        if before is not None and now - before.at < self.idempotency_window_ms:
            return before.retell_call_id
        call_id = f"call_{uuid.uuid4().hex}"
        dial = Dial(call_id, dict(body), now)
        self.dials.append(dial)
        if key is not None:
            self._by_key[key] = dial
        self.calls[call_id] = {
            "call_id": call_id,
            "call_type": "phone_call",
            "call_status": "registered",
            "direction": "outbound",
            "agent_id": body.get("override_agent_id", "agent_default"),
            "agent_version": body.get("override_agent_version", 0),
            "from_number": body.get("from_number"),
            "to_number": body.get("to_number"),
            "metadata": body.get("metadata"),
        }
        return call_id

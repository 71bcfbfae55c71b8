"""Claims and what comes of them: `ports.dialing.Dialing` over the ledger's tables."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, func, or_, select

from outdial.adapters.database.engine import Clock, Database
from outdial.adapters.database.recording import record_answers
from outdial.adapters.database.tables import LINE_OPEN, attempts, calls, workspace
from outdial.adapters.database.transitions import Batch, LockedAttempt, LockedCall, attempt_id
from outdial.adapters.database.workspace import (
    WORKSPACE,
    Limits,
    Workspace,
    lock_workspace,
    read_workspace,
    write_workspace,
)
from outdial.adapters.database.writes import Insert, Update
from outdial.core.call import UNSETTLED, AttemptStatus, CallStatus, Request, decide_call
from outdial.core.retell_events import ATTEMPT_KEY, CALL_KEY, DEPLOYMENT_KEY
from outdial.ports.dialing import Answer, Claim, NotClaimed, Permits, Recorded

#: An answer proves that the key is right, not that the bill was paid: only dialing tells, and is
#: tried again after so long.
UNPAID_MS = 300_000


@dataclass(frozen=True, slots=True)
class DialingRules:
    """Times in ms. `submit_ms`: how long after the first submission another one is allowed."""

    limits: Limits
    lease_ms: int
    submit_ms: int
    default_from_number: str | None = None
    default_agent_id: str | None = None


class LedgerDialing:
    """See `ports.dialing.Dialing`; each method is one transaction."""

    def __init__(self, database: Database, clock: Clock, rules: DialingRules) -> None:
        """`rules` come from the configuration."""
        self._database = database
        self._clock = clock
        self._rules = rules

    async def permits(self) -> Permits:
        """See the port."""

        def look(connection: Connection) -> Permits:
            limits = self._rules.limits
            space = read_workspace(connection, self._clock, lock=False).refilled(limits)
            if space.stopped is not None:
                return Permits(0, 1000, space.stopped)
            lines = space.free_lines(limits)
            free = min(lines, int(space.tokens))
            missing = max(0.0, 1.0 - space.tokens)
            return Permits(free, int(missing / limits.rate * 1000) + 1 if lines else 250)

        return await self._database.read(look)

    async def claim(self, call_ids: Sequence[str]) -> list[Claim | NotClaimed]:
        """See the port."""

        def work(connection: Connection) -> list[Claim | NotClaimed]:
            return _Claiming(connection, self._clock, self._rules).run(call_ids)

        return await self._database.transact(work)

    async def may_submit_again(self, claim: Claim) -> bool:
        """See the port."""

        def work(connection: Connection) -> bool:
            space = read_workspace(connection, self._clock, lock=True)
            now = space.now
            batch = Batch(space.deployment, now)
            batch.lock_attempts(connection, [claim.attempt_id])
            attempt = batch.attempts.get(claim.attempt_id)
            if attempt is None or not _owned(attempt, claim.lease_token):
                return False
            call = attempt.call
            expired = call.expires_at is not None and call.expires_at <= now
            late = now >= attempt.first_submitted_at + self._rules.submit_ms
            held = space.stopped is not None or space.lane_paused(call.lane)
            # Its line is counted already, and its share of the rate was taken with the claim.
            if expired or late or held:
                return False
            attempt.set(lease_until=now + self._rules.lease_ms)
            batch.flush(connection)
            return True

        return await self._database.transact(work)

    async def record(self, answers: Sequence[Answer]) -> list[Recorded]:
        """See the port."""

        def work(connection: Connection) -> list[Recorded]:
            return record_answers(connection, self._clock, answers)

        return await self._database.transact(work)

    async def now(self) -> int:
        """See the port."""
        return await self._database.read(self._clock.now)

    async def measured(
        self, current: int, limit: int, reserved_inbound: int, *, asked_at: int
    ) -> None:
        """See the port.

        Lines that others use count at once. Fewer lines than we count means that ends are still
        on their way, or lost: only what two measurements in a row agree on is believed, and what
        the platform may not have counted yet (a submission under way when it was asked, or placed
        since) is a line in use.
        """

        def work(connection: Connection) -> None:
            space = read_workspace(connection, self._clock, lock=True)
            row = connection.execute(select(workspace.c.line_offset_seen)).one()
            under_way = connection.execute(_UNDER_WAY, {"asked_at": asked_at}).scalar_one()
            more = current - space.running
            seen = more if more >= 0 else min(0, more + under_way)
            offset = seen if seen >= 0 else min(0, max(seen, row.line_offset_seen))
            write_workspace(
                connection,
                line_limit=max(0, limit - reserved_inbound),
                line_offset=offset,
                line_offset_seen=seen,
            )

        await self._database.transact(work)

    async def close_circuit(self) -> bool:
        """See the port."""

        def work(connection: Connection) -> bool:
            lock_workspace(connection)
            row = connection.execute(
                select(workspace.c.circuit_reason, workspace.c.circuit_opened_at)
            ).one()
            if row.circuit_reason is None:
                return False
            paid = not row.circuit_reason.startswith("402")
            if not paid and self._clock.now(connection) < row.circuit_opened_at + UNPAID_MS:
                return False
            write_workspace(connection, circuit_reason=None, circuit_opened_at=None)
            return True

        return await self._database.transact(work)


_UNDER_WAY = (
    select(func.count())
    .select_from(attempts)
    .where(
        LINE_OPEN,
        or_(
            attempts.c.lease_token.is_not(None),
            attempts.c.initiated_at >= bindparam("asked_at"),
        ),
    )
)


#: What a request is made of, besides what every decision on a call needs.
_REQUEST = (calls.c.to_number, calls.c.from_number, calls.c.dynamic_variables)
_NEW_ATTEMPTS = Insert("new_attempts", attempts)
_TOKENS = Update("tokens", workspace)


class _Claiming:
    """One claim transaction."""

    def __init__(self, connection: Connection, clock: Clock, rules: DialingRules) -> None:
        self._connection = connection
        self._rules = rules
        self._space: Workspace = read_workspace(connection, clock, lock=True).refilled(rules.limits)
        self._now = now = self._space.now
        self._lines = self._space.free_lines(rules.limits)
        self._tokens = self._space.tokens
        self._batch = Batch(self._space.deployment, now)
        self._new: list[dict[str, Any]] = []
        #: What was submitted before, by call id.
        self._bodies: dict[str, Any] = {}

    def run(self, call_ids: Sequence[str]) -> list[Claim | NotClaimed]:
        batch = self._batch
        rows = batch.lock_calls(self._connection, calls.c.id.in_(set(call_ids)), *_REQUEST)
        self._read_dialed()
        latest = {attempt.call.id: attempt for attempt in batch.attempts.values()}
        results: list[Claim | NotClaimed] = []
        taken: set[str] = set()
        for call_id in call_ids:
            call = batch.calls.get(call_id)
            if call is None or call_id in taken:
                results.append(NotClaimed(call_id, "unknown" if call is None else "claimed"))
                continue
            result = self._one(call, latest.get(call_id), rows[call_id])
            if isinstance(result, Claim):
                taken.add(call_id)
            results.append(result)
        batch.flush(
            self._connection,
            (_NEW_ATTEMPTS, self._new),
            (_TOKENS, [{"id": WORKSPACE, "tokens": self._tokens, "tokens_at": self._now}])
            if self._tokens != self._space.tokens
            else (_TOKENS, []),
        )
        return results

    def _read_dialed(self) -> None:
        """What became of calls that are being dialed; of the others, no attempt matters."""
        dialed = [c.id for c in self._batch.calls.values() if c.status is CallStatus.DIALING]
        if dialed:
            found = self._batch.read_latest(self._connection, dialed, attempts.c.body)
            self._bodies = {call_id: row["body"] for call_id, row in found.items()}

    def _one(
        self,
        call: LockedCall,
        latest: LockedAttempt | None,
        row: RowMapping,
    ) -> Claim | NotClaimed:
        if call.status is CallStatus.DIALING and latest is not None:
            return self._take_over(call, latest)
        if call.status is not CallStatus.QUEUED:
            return NotClaimed(call.id, call.status.value)
        if call.expires_at is not None and call.expires_at <= self._now:
            return self._end(call, Request.EXPIRE, None)
        held = self._space.stopped or ("paused" if self._space.lane_paused(call.lane) else None)
        if held is not None:
            # Whoever resumes dialing finds it unpublished; no message has to wait for that.
            call.set(published_at=None)
            return NotClaimed(call.id, held)
        if call.state["due_at"] > self._now:
            call.set(published_at=None)
            return NotClaimed(call.id, "deferred")
        if row["from_number"] is None and self._rules.default_from_number is None:
            return self._end(
                call,
                Request.REJECT,
                "no from_number in the call, and OUTDIAL_DEFAULT_FROM_NUMBER is not set",
            )
        if self._lines < 1:
            return NotClaimed(call.id, "no free line", retry_ms=500)
        if self._tokens < 1:
            return self._over_rate(call)
        return self._claim(call, row)

    def _claim(self, call: LockedCall, row: RowMapping) -> Claim:
        self._lines -= 1
        self._tokens -= 1
        verdict = decide_call(call.status, Request.CLAIM, call_told=call.state["told_initiated"])
        number = call.state["attempts"] + 1
        call.set(status=verdict.status.value, attempts=number, published_at=None)
        new_id = attempt_id(call.id, number)
        token = secrets.token_hex(8)
        body = self._body(call.id, new_id, row)
        self._new.append(
            {
                "id": new_id,
                "call_id": call.id,
                "number": number,
                "status": AttemptStatus.CLAIMED.value,
                "lease_token": token,
                "lease_until": self._now + self._rules.lease_ms,
                "body": body,
                "claimed_at": self._now,
                "first_submitted_at": self._now,
                "doubted": False,
                "doubts": 0,
                "line_open": True,
                "told_initiated": False,
                "told_started": False,
                "told_end": False,
                "provisional": False,
                "agent_id": body.get("override_agent_id"),
                "agent_version": call.facts.agent_version,
                "version": 1,
                "loaded_version": 0,
            }
        )
        return Claim(
            call_id=call.id,
            attempt_id=new_id,
            number=number,
            lease_token=token,
            lease_ms=self._rules.lease_ms,
            submit_ms=self._rules.submit_ms,
            body=body,
            look_up_first=False,
        )

    def _body(self, call_id: str, new_id: str, row: RowMapping) -> dict[str, Any]:
        body: dict[str, Any] = {
            "from_number": row["from_number"] or self._rules.default_from_number,
            "to_number": row["to_number"],
            "metadata": {
                **(row["metadata"] or {}),
                DEPLOYMENT_KEY: self._space.deployment,
                CALL_KEY: call_id,
                ATTEMPT_KEY: new_id,
            },
            "idempotency_key": new_id,
        }
        agent_id = row["agent_id"] or self._rules.default_agent_id
        if agent_id is not None:
            body["override_agent_id"] = agent_id
        if row["agent_version"] is not None:
            version = row["agent_version"]
            body["override_agent_version"] = int(version) if version.isdecimal() else version
        if row["dynamic_variables"]:
            body["retell_llm_dynamic_variables"] = row["dynamic_variables"]
        return body

    def _take_over(
        self,
        call: LockedCall,
        latest: LockedAttempt,
    ) -> Claim | NotClaimed:
        if latest.status not in UNSETTLED:
            return NotClaimed(call.id, latest.status.value)
        if (latest.state["lease_until"] or 0) > self._now:
            return NotClaimed(call.id, "claimed")
        submit_ms = latest.first_submitted_at + self._rules.submit_ms - self._now
        if submit_ms > 0:
            # Looked up and not found, it is dialed at once: by then its turn must be certain.
            if self._tokens < 1:
                return self._over_rate(call)
            self._tokens -= 1
        token = secrets.token_hex(8)
        # Its owner may have submitted it, so from now on a 4xx proves nothing.
        latest.set(lease_token=token, lease_until=self._now + self._rules.lease_ms, doubted=True)
        call.set(published_at=None)
        return Claim(
            call_id=call.id,
            attempt_id=latest.id,
            number=latest.number,
            lease_token=token,
            lease_ms=self._rules.lease_ms,
            submit_ms=submit_ms,
            body=self._bodies[call.id],
            look_up_first=True,
        )

    def _over_rate(self, call: LockedCall) -> NotClaimed:
        return NotClaimed(call.id, "dial rate", retry_ms=int(1000 / self._rules.limits.rate))

    def _end(self, call: LockedCall, request: Request, message: str | None) -> NotClaimed:
        told = call.state["told_initiated"]
        self._batch.apply_to_call(call, decide_call(call.status, request, call_told=told), message)
        return NotClaimed(call.id, call.status.value)


def _owned(attempt: LockedAttempt, token: str) -> bool:
    return attempt.status in UNSETTLED and attempt.state["lease_token"] == token

"""One claim transaction: permits, the circuit, and what is due or has lost its worker."""

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping

from outdial.adapters.database.engine import Clock
from outdial.adapters.database.locked_rows import LockedAttempt, LockedCall
from outdial.adapters.database.tables import attempts, calls, workspace
from outdial.adapters.database.transitions import Batch
from outdial.adapters.database.workspace import (
    WORKSPACE,
    Limits,
    Workspace,
    circuit_columns,
    read_workspace,
)
from outdial.adapters.database.writes import Insert, Update
from outdial.core.call import UNSETTLED, AttemptStatus, CallStatus, Request, decide_call
from outdial.core.look_ups import LookUps
from outdial.core.retell_events import ATTEMPT_KEY, CALL_KEY, DEPLOYMENT_KEY
from outdial.ports.dialing import Claim, NotClaimed


@dataclass(frozen=True, slots=True)
class DialingRules:
    """Times in ms. `submit_ms`: how long after the first submission another one is allowed."""

    limits: Limits
    lease_ms: int
    submit_ms: int
    default_from_number: str | None = None
    default_agent_id: str | None = None

    @property
    def look_ups(self) -> LookUps:
        """When an attempt of unknown fate is looked up, and given up."""
        return LookUps(self.submit_ms)


_ATTEMPTS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:outdial:attempt")

#: What a request is made of, besides what every decision on a call needs.
_REQUEST = (calls.c.to_number, calls.c.from_number, calls.c.dynamic_variables)
_NEW_ATTEMPTS = Insert("new_attempts", attempts)
_WORKSPACE = Update("workspace_row", workspace)


class Claiming:
    """One claim transaction; `run` once."""

    def __init__(self, connection: Connection, clock: Clock, rules: DialingRules) -> None:
        """Locks the workspace's row."""
        self._connection = connection
        self._rules = rules
        self._space: Workspace = read_workspace(connection, clock, lock=True).refilled(rules.limits)
        self._now = now = self._space.now
        self._lines = self._space.free_lines(rules.limits)
        self._tokens = self._space.tokens
        self._circuit = self._space.circuit
        self._batch = Batch(self._space.deployment, now)
        self._new: list[dict[str, Any]] = []
        #: What was submitted before, by call id.
        self._bodies: dict[str, Any] = {}

    def run(self, call_ids: Sequence[str]) -> list[Claim | NotClaimed]:
        """An answer a call, in order."""
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
            (_WORKSPACE, self._spent()),
        )
        return results

    def _spent(self) -> list[dict[str, Any]]:
        if self._tokens == self._space.tokens and self._circuit is self._space.circuit:
            return []
        row = {"id": WORKSPACE, "tokens": self._tokens, "tokens_at": self._now}
        return [row | circuit_columns(self._circuit)]

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
        held = self._held(call.lane)
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

    def _held(self, lane: str) -> str | None:
        if not self._circuit.admits(self._now):
            return f"circuit {self._circuit.state.value}"
        return self._space.stopped or ("paused" if self._space.lane_paused(lane) else None)

    def _claim(self, call: LockedCall, row: RowMapping) -> Claim:
        self._lines -= 1
        self._tokens -= 1
        verdict = decide_call(call.status, Request.CLAIM, call_told=call.state["told_initiated"])
        number = call.state["attempts"] + 1
        call.set(status=verdict.status.value, attempts=number, published_at=None)
        new_id = attempt_id(call.id, number)
        token = secrets.token_hex(8)
        self._circuit = self._circuit.probing(new_id, self._now + self._rules.lease_ms)
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
        if submit_ms > 0 and self._space.stopped is None:
            # Looked up and not found, it is dialed at once: by then its turn must be certain. It
            # may borrow from the next second, or calls that take each token as it comes would
            # keep it waiting for ever.
            if self._tokens <= 0:
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


def attempt_id(call_id: str, number: int) -> str:
    """The id of a call's attempt, derived so that it can never be made twice."""
    return str(uuid.uuid5(_ATTEMPTS, f"{call_id}/{number}"))

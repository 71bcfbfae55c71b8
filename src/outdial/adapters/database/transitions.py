"""Applying the core's verdicts: locked rows in, statements out, in as few as a batch needs.

A `Batch` holds the calls and attempts of one transaction, locked in id order. Decisions change
them in memory; `flush` writes each changed row once, and the activity events with them.
"""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Column, ColumnElement, Connection, RowMapping, Select, or_, select

from outdial.adapters.database.tables import activity_events, alarms, attempts, calls
from outdial.adapters.database.writes import Insert, Kind, Update, write
from outdial.core import activity
from outdial.core.call import (
    LIVE,
    ActivityType,
    Alarm,
    AttemptEvent,
    AttemptStatus,
    AttemptVerdict,
    AttemptView,
    CallStatus,
    CallVerdict,
    HeardAnalyzed,
    HeardEnded,
    HeardStarted,
    decide_attempt,
)
from outdial.core.retell_events import CallDetails
from outdial.core.submission import Placed

_CALL_COLUMNS = (
    calls.c.id,
    calls.c.tenant,
    calls.c.status,
    calls.c.lane,
    calls.c.metadata,
    calls.c.external_id,
    calls.c.agent_id,
    calls.c.agent_version,
    calls.c.expires_at,
    calls.c.due_at,
    calls.c.published_at,
    calls.c.reason,
    calls.c.message,
    calls.c.attempts,
    calls.c.sequence,
    calls.c.told_initiated,
    calls.c.outbox_due_at,
)
#: What `flush` writes of a call, whatever of it has changed.
_CALL_STATE = (
    "status",
    "due_at",
    "published_at",
    "reason",
    "message",
    "attempts",
    "sequence",
    "told_initiated",
    "outbox_due_at",
)
_ATTEMPT_STATE = (
    "status",
    "lease_token",
    "lease_until",
    "doubted",
    "doubts",
    "unknown_since",
    "absent_at",
    "retell_call_id",
    "line_open",
    "told_initiated",
    "told_started",
    "told_end",
    "initiated_at",
    "started_at",
    "ended_at",
    "analysis_timestamp",
    "analysis_sha256",
    "provisional",
    "silent_since",
    "message",
)
_ATTEMPT_DETAILS = (
    "analyzed_at",
    "call_status",
    "outcome",
    "disconnection_reason",
    "duration_ms",
    "call_successful",
    "user_sentiment",
    "in_voicemail",
    "call_summary",
    "custom_analysis_data",
    "cost_usd",
    "recording_url",
    "transcript",
    "agent_id",
    "agent_version",
    "latency_p50_ms",
)
_ATTEMPT_COLUMNS = tuple(
    attempts.c[name].label(f"a_{name}")
    for name in ("id", "call_id", "number", "claimed_at", "first_submitted_at", *_ATTEMPT_STATE)
)


_CALLS = Update("changed_calls", calls, versioned=True)
_ATTEMPTS = Update("changed_attempts", attempts, versioned=True)
_ANALYSED = Update("analysed_attempts", attempts, versioned=True)
_ACTIVITY = Insert("told", activity_events)
_RAISED = Insert("raised", alarms, ignore=True)

#: What Retell says of an attempt: it is silent no longer.
_NEWS = Placed | HeardStarted | HeardEnded | HeardAnalyzed


@dataclass(slots=True)
class LockedCall:
    """A call whose row this transaction holds; `state` is what may change."""

    id: str
    tenant: str
    lane: str
    expires_at: int | None
    facts: activity.CallFacts
    state: dict[str, Any]
    changed: bool = False

    @property
    def status(self) -> CallStatus:
        """Where it stands now, changes of this transaction included."""
        return CallStatus(self.state["status"])

    def set(self, **values: Any) -> None:  # noqa: ANN401
        """Change it in memory; `flush` writes it, unless nothing is new."""
        if any(self.state.get(name) != value for name, value in values.items()):
            self.changed = True
        self.state.update(values)


@dataclass(slots=True)
class LockedAttempt:
    """An attempt of a locked call."""

    id: str
    number: int
    claimed_at: int
    first_submitted_at: int
    call: LockedCall
    state: dict[str, Any]
    details: CallDetails | None = None
    agent_id: str | None = None
    changed: bool = False

    @property
    def status(self) -> AttemptStatus:
        """Where it stands now, changes of this transaction included."""
        return AttemptStatus(self.state["status"])

    def set(self, **values: Any) -> None:  # noqa: ANN401
        """Change it in memory; `flush` writes it, unless nothing is new."""
        if any(self.state.get(name) != value for name, value in values.items()):
            self.changed = True
        self.state.update(values)

    def view(self) -> AttemptView:
        """What the core decides on."""
        state = self.state
        return AttemptView(
            status=self.status,
            told_initiated=state["told_initiated"],
            told_started=state["told_started"],
            told_end=state["told_end"],
            doubted=state["doubted"],
            current=self.number == self.call.state["attempts"],
            call_told=self.call.state["told_initiated"],
        )


@dataclass(slots=True)
class Batch:
    """The rows one transaction works on. `now` in ms, by the database's clock.

    `again`: its events were heard before, so that hearing them is no news of anybody.
    """

    deployment: str
    now: int
    again: bool = False
    calls: dict[str, LockedCall] = field(default_factory=dict)
    attempts: dict[str, LockedAttempt] = field(default_factory=dict)
    by_retell_id: dict[str, LockedAttempt] = field(default_factory=dict)
    _activity: list[dict[str, Any]] = field(default_factory=list)
    _alarms: dict[str, dict[str, Any]] = field(default_factory=dict)

    def lock_calls(
        self, connection: Connection, where: ColumnElement[bool], *also: Column[Any]
    ) -> dict[str, RowMapping]:
        """Lock the calls that match, in id order, without their attempts; their rows by id.

        `also`: columns to read besides what every decision needs.
        """
        statement = (
            select(*_CALL_COLUMNS, *also)
            .where(where)
            .order_by(calls.c.id)
            .with_for_update(of=calls)
        )
        rows = connection.execute(statement).mappings().all()
        for row in rows:
            self._call(row)
        return {row["id"]: row for row in rows}

    def read_latest(
        self, connection: Connection, call_ids: Collection[str], *also: Column[Any]
    ) -> dict[str, RowMapping]:
        """Read the latest attempt of these locked calls; their rows by call id."""
        latest = (attempts.c.call_id == calls.c.id) & (attempts.c.number == calls.c.attempts)
        rows = self._read_attempts(
            connection,
            select(*_ATTEMPT_COLUMNS, *also)
            .select_from(attempts.join(calls, latest))
            .where(calls.c.id.in_(call_ids)),
        )
        return {row["a_call_id"]: row for row in rows}

    def lock_attempts(
        self,
        connection: Connection,
        attempt_ids: Collection[str],
        retell_call_ids: Collection[str] = (),
    ) -> None:
        """Lock the calls of these attempts, in id order, then read the attempts.

        Two statements, since PostgreSQL shows rows it did not lock as they were before the wait.
        """
        wanted: ColumnElement[bool] = attempts.c.id.in_(attempt_ids)
        if retell_call_ids:
            wanted = or_(wanted, attempts.c.retell_call_id.in_(retell_call_ids))
        self.lock_calls(connection, calls.c.id.in_(select(attempts.c.call_id).where(wanted)))
        self._read_attempts(connection, select(*_ATTEMPT_COLUMNS).where(wanted))

    def _read_attempts(
        self, connection: Connection, statement: Select[Any]
    ) -> Sequence[RowMapping]:
        rows = connection.execute(statement).mappings().all()
        for row in rows:
            call = self.calls.get(row["a_call_id"])
            if call is not None:
                self._attempt(row, call)
        return rows

    def _call(self, row: RowMapping) -> LockedCall:
        known = self.calls.get(row["id"])
        if known is not None:
            return known
        facts = activity.CallFacts(
            call_id=row["id"],
            deployment=self.deployment,
            tenant=row["tenant"],
            external_id=row["external_id"],
            agent_id=row["agent_id"],
            agent_version=row["agent_version"],
            metadata=row["metadata"],
        )
        call = LockedCall(
            id=row["id"],
            tenant=row["tenant"],
            lane=row["lane"],
            expires_at=row["expires_at"],
            facts=facts,
            state={name: row[name] for name in _CALL_STATE},
        )
        self.calls[call.id] = call
        return call

    def _attempt(self, row: RowMapping, call: LockedCall) -> None:
        attempt = LockedAttempt(
            id=row["a_id"],
            number=row["a_number"],
            claimed_at=row["a_claimed_at"],
            first_submitted_at=row["a_first_submitted_at"],
            call=call,
            state={name: row[f"a_{name}"] for name in _ATTEMPT_STATE},
        )
        self.attempts[attempt.id] = attempt
        if attempt.state["retell_call_id"] is not None:
            self.by_retell_id[attempt.state["retell_call_id"]] = attempt

    def decide(  # noqa: PLR0913 - what a message may say besides its event, by name
        self,
        attempt: LockedAttempt,
        event: AttemptEvent,
        *,
        message: str | None = None,
        started_at: int | None = None,
        ended_at: int | None = None,
        retell_call_id: str | None = None,
    ) -> AttemptVerdict:
        """Ask the core, apply its verdict in memory, and queue what it tells.

        `started_at` and `ended_at`: when Retell says it happened, in ms; now where it does not.
        `retell_call_id`: the call an alarm is about, where it is not the attempt's own.
        """
        verdict = decide_attempt(attempt.view(), event)
        call = attempt.call
        moved = verdict.status is not attempt.status
        if moved:
            attempt.set(status=verdict.status.value)
        if verdict.status in LIVE:
            if isinstance(event, _NEWS) and (moved or not self.again):
                attempt.set(silent_since=self.now)
        elif attempt.state["silent_since"] is not None and not attempt.state["provisional"]:
            attempt.set(silent_since=None)
        if verdict.call is not None and verdict.call is not call.status:
            call.set(status=verdict.call.value)
        if verdict.reason is not None:
            call.set(reason=verdict.reason, message=message)
        for kind in verdict.tell:
            self._tell_of_attempt(
                attempt,
                kind,
                started_at=started_at,
                ended_at=ended_at,
                reason=verdict.reason,
                message=message,
            )
        if verdict.alarm is not None:
            self.alarm(attempt, verdict.alarm, retell_call_id)
        return verdict

    def apply_to_call(
        self, call: LockedCall, verdict: CallVerdict, message: str | None = None
    ) -> None:
        """Apply a verdict on a request (cancel, expire …) in memory, and queue what it tells."""
        if verdict.status is not call.status:
            call.set(status=verdict.status.value, reason=verdict.reason, message=message)
        for kind in verdict.tell:
            self._tell(call, None, kind, at=self.now, reason=verdict.reason, message=message)

    def alarm(self, attempt: LockedAttempt, kind: Alarm, retell_call_id: str | None) -> None:
        """Raise it; by default about the attempt's own call."""
        about = retell_call_id or attempt.state["retell_call_id"]
        row = alarm_row(kind, attempt.call.id, attempt.id, about, self.now)
        self._alarms[row["id"]] = row

    def flush(
        self, connection: Connection, *also: tuple[Kind, Sequence[Mapping[str, Any]]]
    ) -> None:
        """Write every changed row once, with the activity events, the alarms, and `also`."""
        changed = [attempt for attempt in self.attempts.values() if attempt.changed]
        write(
            connection,
            [
                (
                    _CALLS,
                    [
                        {"id": call.id, "updated_at": self.now, **call.state}
                        for call in self.calls.values()
                        if call.changed
                    ],
                ),
                (
                    _ATTEMPTS,
                    [{"id": one.id, **one.state} for one in changed if one.details is None],
                ),
                (
                    _ANALYSED,
                    [
                        {"id": one.id, **one.state, **self._details(one.details)}
                        for one in changed
                        if one.details is not None
                    ],
                ),
                (_ACTIVITY, self._activity),
                (_RAISED, list(self._alarms.values())),
                *also,
            ],
        )

    def mend_details(self, connection: Connection) -> None:
        """Have details written that are stored otherwise than they are read now."""
        read = {
            one.id: one
            for one in self.attempts.values()
            if one.details is not None and not one.changed
        }
        stored = select(attempts.c.id, *(attempts.c[name] for name in _ATTEMPT_DETAILS))
        for row in connection.execute(stored.where(attempts.c.id.in_(read))).mappings():
            details = read[row["id"]].details
            read[row["id"]].changed = any(
                row[name] != getattr(details, name, None)
                for name in _ATTEMPT_DETAILS
                if name != "analyzed_at"
            )

    def _details(self, details: CallDetails) -> dict[str, Any]:
        row: dict[str, Any] = {name: getattr(details, name, None) for name in _ATTEMPT_DETAILS}
        return row | {"analyzed_at": self.now}

    def _tell_of_attempt(  # noqa: PLR0913 - each is a fact of the event
        self,
        attempt: LockedAttempt,
        kind: ActivityType,
        *,
        started_at: int | None,
        ended_at: int | None,
        reason: str | None,
        message: str | None,
    ) -> None:
        call = attempt.call
        at = self.now
        match kind:
            case ActivityType.INITIATED:
                attempt.set(told_initiated=True, initiated_at=at)
                call.set(told_initiated=True)
            case ActivityType.STARTED:
                at = started_at or at
                attempt.set(told_started=True, started_at=at)
            case ActivityType.COMPLETED | ActivityType.FAILED:
                at = ended_at or at
                attempt.set(told_end=True, ended_at=at)
            case ActivityType.NOT_PLACED:
                self._tell(call, None, kind, at=at, reason=reason, message=message)
                return
        self._tell(call, attempt, kind, at=at, reason=reason, message=message)

    def _tell(  # noqa: PLR0913 - each is a fact of the event
        self,
        call: LockedCall,
        attempt: LockedAttempt | None,
        kind: ActivityType,
        *,
        at: int,
        reason: str | None,
        message: str | None,
    ) -> None:
        sequence = call.state["sequence"] + 1
        call.set(sequence=sequence)
        if call.state["outbox_due_at"] is None:
            call.set(outbox_due_at=self.now)
        event_id = activity.event_id(attempt.id if attempt is not None else call.id, kind)
        facts = (
            activity.AttemptFacts(attempt.number, attempt.state["retell_call_id"])
            if attempt is not None
            else None
        )
        event = activity.build(
            kind,
            event_id=event_id,
            sequence=sequence,
            call=call.facts,
            attempt=facts,
            occurred_at_ms=at,
            details=attempt.details if attempt is not None else None,
            reason=reason,
            message=message,
        )
        self._activity.append(
            {
                "id": event_id,
                "call_id": call.id,
                "attempt_id": attempt.id if attempt is not None else None,
                "attempt": attempt.number if attempt is not None else None,
                "tenant": call.tenant,
                "type": kind.value,
                "sequence": sequence,
                "occurred_at": at,
                "recorded_at": self.now,
                "event": orjson.dumps(event).decode(),
                "tries": 0,
                "loaded": False,
            }
        )


def alarm_row(
    kind: Alarm, call_id: str, attempt_id: str, retell_call_id: str | None, now: int
) -> dict[str, Any]:
    """A row of `alarms`; its id is derived, so that hearing of it again is the same alarm."""
    about = f"{kind}/{attempt_id}/{retell_call_id}"
    return {
        "id": str(uuid.uuid5(_ALARMS, about)),
        "kind": kind.value,
        "call_id": call_id,
        "attempt_id": attempt_id,
        "retell_call_id": retell_call_id,
        "raised_at": now,
    }


_ATTEMPT_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:outdial:attempt")
_ALARMS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:outdial:alarm")


def attempt_id(call_id: str, number: int) -> str:
    """The id of a call's attempt, derived so that it can never be made twice."""
    return str(uuid.uuid5(_ATTEMPT_NAMESPACE, f"{call_id}/{number}"))

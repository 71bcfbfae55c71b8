"""The calls and attempts that one transaction holds, locked in id order, and what may change."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, RowMapping, Select, bindparam, or_, select

from outdial.adapters.database.tables import attempts, calls
from outdial.core.activity import CallFacts
from outdial.core.call import AttemptStatus, AttemptView, CallStatus
from outdial.core.retell_events import CallDetails

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
_ATTEMPT_COLUMNS = tuple(
    attempts.c[name].label(f"a_{name}")
    for name in ("id", "call_id", "number", "claimed_at", "first_submitted_at", *_ATTEMPT_STATE)
)


_Parameters = Mapping[str, list[str]]


def _locking(where: ColumnElement[bool], *also: Column[Any]) -> Select[Any]:
    return select(*_CALL_COLUMNS, *also).where(where).order_by(calls.c.id).with_for_update(of=calls)


def _found(wanted: ColumnElement[bool]) -> tuple[Select[Any], Select[Any]]:
    """What locks the calls of these attempts, and what reads the attempts."""
    of_them = calls.c.id.in_(select(attempts.c.call_id).where(wanted))
    return _locking(of_them), select(*_ATTEMPT_COLUMNS).where(wanted)


# Made once: building them takes longer than running them.
_ONE_OF_THESE = attempts.c.id.in_(bindparam("attempt_ids", expanding=True))
_BY_ATTEMPT = _found(_ONE_OF_THESE)
_BY_EITHER = _found(
    or_(
        _ONE_OF_THESE,
        attempts.c.retell_call_id.in_(bindparam("retell_call_ids", expanding=True)),
    )
)


@dataclass(slots=True, kw_only=True)
class _Changing:
    """A row that is changed in memory first; `state` is what may change."""

    state: dict[str, Any]
    changed: bool = False

    def set(self, **values: Any) -> None:  # noqa: ANN401
        """Change it in memory; `flush` writes it, unless nothing is new."""
        if any(self.state.get(name) != value for name, value in values.items()):
            self.changed = True
        self.state.update(values)


@dataclass(slots=True)
class LockedCall(_Changing):
    """A call whose row this transaction holds."""

    id: str
    tenant: str
    lane: str
    expires_at: int | None
    facts: CallFacts

    @property
    def status(self) -> CallStatus:
        """Where it stands now, changes of this transaction included."""
        return CallStatus(self.state["status"])


@dataclass(slots=True)
class LockedAttempt(_Changing):
    """An attempt of a locked call."""

    id: str
    number: int
    claimed_at: int
    first_submitted_at: int
    call: LockedCall
    details: CallDetails | None = None
    agent_id: str | None = None

    @property
    def status(self) -> AttemptStatus:
        """Where it stands now, changes of this transaction included."""
        return AttemptStatus(self.state["status"])

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
class LockedRows:
    """The rows one transaction works on. `now` in ms, by the database's clock."""

    deployment: str
    now: int
    calls: dict[str, LockedCall] = field(default_factory=dict)
    attempts: dict[str, LockedAttempt] = field(default_factory=dict)
    by_retell_id: dict[str, LockedAttempt] = field(default_factory=dict)

    def lock_calls(
        self, connection: Connection, where: ColumnElement[bool], *also: Column[Any]
    ) -> dict[str, RowMapping]:
        """Lock the calls that match, in id order, without their attempts; their rows by id.

        `also`: columns to read besides what every decision needs.
        """
        return self._lock(connection, _locking(where, *also))

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
        parameters = {"attempt_ids": list(attempt_ids)}
        locking, reading = _BY_ATTEMPT
        if retell_call_ids:
            parameters["retell_call_ids"] = list(retell_call_ids)
            locking, reading = _BY_EITHER
        self._lock(connection, locking, parameters)
        self._read_attempts(connection, reading, parameters)

    def _lock(
        self, connection: Connection, statement: Select[Any], parameters: _Parameters | None = None
    ) -> dict[str, RowMapping]:
        rows = connection.execute(statement, parameters).mappings().all()
        for row in rows:
            self._call(row)
        return {row["id"]: row for row in rows}

    def _read_attempts(
        self, connection: Connection, statement: Select[Any], parameters: _Parameters | None = None
    ) -> Sequence[RowMapping]:
        rows = connection.execute(statement, parameters).mappings().all()
        for row in rows:
            call = self.calls.get(row["a_call_id"])
            if call is not None:
                self._attempt(row, call)
        return rows

    def _call(self, row: RowMapping) -> LockedCall:
        known = self.calls.get(row["id"])
        if known is not None:
            return known
        facts = CallFacts(
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

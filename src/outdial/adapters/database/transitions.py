"""Applying the core's verdicts: locked rows in, statements out, in as few as a batch needs.

A `Batch` holds the calls and attempts of one transaction. Decisions change them in memory;
`flush` writes each changed row once, and the activity events with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from outdial.adapters.database.analysis_columns import COLUMNS, as_row, differing
from outdial.adapters.database.locked_rows import LockedAttempt, LockedCall, LockedRows
from outdial.adapters.database.tables import activity_events, alarms, attempts, calls
from outdial.adapters.database.telling import alarm_row, told_of_attempt, told_of_call
from outdial.adapters.database.writes import Insert, Kind, Update, write
from outdial.core.call import (
    LIVE,
    Alarm,
    AttemptEvent,
    AttemptVerdict,
    CallVerdict,
    HeardAnalyzed,
    HeardEnded,
    HeardStarted,
    decide_attempt,
)
from outdial.core.retell_events import CallDetails
from outdial.core.submission import Placed

_CALLS = Update("changed_calls", calls, versioned=True)
_ATTEMPTS = Update("changed_attempts", attempts, versioned=True)
_ANALYSED = Update("analysed_attempts", attempts, versioned=True)
_ACTIVITY = Insert("told", activity_events)
_RAISED = Insert("raised", alarms, ignore=True)

#: What Retell says of an attempt: it is silent no longer.
_NEWS = Placed | HeardStarted | HeardEnded | HeardAnalyzed


@dataclass(slots=True)
class Batch(LockedRows):
    """What one transaction decides on, and what comes of it.

    `again`: its events were heard before, so that hearing them is no news of anybody.
    """

    again: bool = False
    _activity: list[dict[str, Any]] = field(default_factory=list)
    _alarms: dict[str, dict[str, Any]] = field(default_factory=dict)

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
            told = told_of_attempt(
                attempt,
                kind,
                self.now,
                started_at=started_at,
                ended_at=ended_at,
                reason=verdict.reason,
                message=message,
            )
            self._activity.append(told)
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
            told = told_of_call(call, kind, self.now, reason=verdict.reason, message=message)
            self._activity.append(told)

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
        stored = select(attempts.c.id, *COLUMNS).where(attempts.c.id.in_(read))
        for row in connection.execute(stored).mappings():
            one = read[row["id"]]
            one.changed = one.details is not None and bool(differing(row, one.details))

    def _details(self, details: CallDetails) -> dict[str, Any]:
        return as_row(details) | {"analyzed_at": self.now}

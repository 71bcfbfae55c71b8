"""What is silent, and what asking about it came to: `ports.reconciliation` over the tables."""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    or_,
    select,
    update,
)

from outdial.adapters.database.drift_log import LedgerDriftLog
from outdial.adapters.database.engine import Clock, insert_or_ignore
from outdial.adapters.database.inbox import read_event, take_events
from outdial.adapters.database.tables import (
    SILENT,
    UNSETTLED,
    alarms,
    attempts,
    drift,
    reconciliation,
    workspace,
)
from outdial.adapters.database.telling import alarm_row
from outdial.adapters.database.transitions import Batch
from outdial.adapters.database.workspace import deployment_of, opening
from outdial.core.call import LIVE, Alarm, AttemptStatus, Vanished
from outdial.core.reconciling import Drift, Known
from outdial.core.retell_events import body_sha256
from outdial.ports.inbox import Disposition, Incoming, Taken
from outdial.ports.platform import ListedCall
from outdial.ports.reconciliation import Learned, Silent

#: So long an attempt is its asker's, who may have died.
HOLD_MS = 60_000
#: A provisional end is asked about for so long; a finding is kept for so long.
STAY_MS = 86_400_000
KEEP_MS = 30 * 86_400_000

_FINDINGS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:outdial:drift")
_VANISHED = "Retell no longer knows the call"


class LedgerReconciliation(LedgerDriftLog):
    """See `ports.reconciliation.Reconciliation`; each method is one transaction."""

    async def now(self) -> int:
        """See the port."""
        return await self._database.read(self._clock.now)

    async def deployment(self) -> str:
        """See the port."""
        return await self._database.read(deployment_of)

    async def silent(self, limit: int, *, unasked_since: int | None = None) -> list[Silent]:
        """See the port."""

        def look(connection: Connection) -> bool:
            due = self._due(self._clock.now(connection), unasked_since)
            found = connection.execute(select(attempts.c.id).where(due).limit(1))
            return found.first() is not None

        def work(connection: Connection) -> list[Silent]:
            now = self._clock.now(connection)
            rows = connection.execute(
                select(*_SILENT_COLUMNS)
                .where(self._due(now, unasked_since))
                .order_by(attempts.c.silent_since, attempts.c.id)
                .limit(limit)
                # What another one is just taking is his.
                .with_for_update(skip_locked=True)
            ).all()
            connection.execute(
                update(attempts)
                .where(attempts.c.id.in_([row.id for row in rows]))
                .values(ask_at=now + HOLD_MS, asked_at=now)
            )
            return [_silent(row, now) for row in rows]

        return await self._database.transact(work) if await self._database.read(look) else []

    async def witnesses(self, silent: Silent, limit: int) -> list[str]:
        """See the port."""
        query = (
            select(attempts.c.retell_call_id)
            .where(
                attempts.c.call_id < silent.call_id,
                attempts.c.status.in_((AttemptStatus.COMPLETED, AttemptStatus.FAILED)),
                ~attempts.c.provisional,
            )
            .order_by(attempts.c.call_id.desc())
            .limit(limit)
        )

        def look(connection: Connection) -> list[str]:
            return list(connection.execute(query).scalars())

        return await self._database.read(look)

    async def learned(self, learned: Learned) -> list[str]:
        """See the port."""

        def work(connection: Connection) -> list[str]:
            now = self._clock.now(connection)
            taken = self._take(connection, now, learned.bodies)
            applied = any(one.disposition is Disposition.APPLIED for one in taken)
            if learned.vanished:
                applied = _vanish(connection, self._clock, learned)
            if learned.drift is not None and applied:
                _find(connection, now, learned.drift, learned.silent)
            connection.execute(
                update(attempts)
                .where(attempts.c.id == learned.silent.attempt_id)
                .values(ask_at=now + learned.again_ms, not_found=learned.not_found)
            )
            return _alarms_of(taken)

        return await self._database.transact(work)

    async def claim_search(self, every_ms: int) -> bool:
        """See the port. What is of no more interest is forgotten as often."""

        def due(now: int) -> ColumnElement[bool]:
            last = reconciliation.c.searched_at
            return or_(last.is_(None), last <= now - every_ms)

        def look(connection: Connection) -> bool:
            found = select(reconciliation.c.id).where(due(self._clock.now(connection)))
            return connection.execute(found).first() is not None

        def work(connection: Connection) -> bool:
            now = self._clock.now(connection)
            claimed = connection.execute(
                update(reconciliation).where(due(now)).values(searched_at=now)
            )
            if not claimed.rowcount:
                return False
            connection.execute(
                update(attempts)
                .where(SILENT, attempts.c.provisional, attempts.c.silent_since <= now - STAY_MS)
                .values(silent_since=None)
            )
            connection.execute(delete(drift).where(drift.c.found_at <= now - KEEP_MS))
            return True

        return await self._database.read(look) and await self._database.transact(work)

    async def unknown(self, listed: Sequence[ListedCall]) -> list[ListedCall]:
        """See the port."""

        def look(connection: Connection) -> list[ListedCall]:
            now = self._clock.now(connection)
            ids = [one.retell_call_id for one in listed]
            noted = {_finding_id(kind, one): one for one in ids for kind in _LEFT}
            known = {
                *connection.execute(
                    select(attempts.c.retell_call_id).where(attempts.c.retell_call_id.in_(ids))
                ).scalars(),
                *(
                    noted[found]
                    for found in connection.execute(
                        select(drift.c.id).where(drift.c.id.in_(list(noted)))
                    ).scalars()
                ),
            }
            pruned_to = connection.execute(select(workspace.c.pruned_to)).scalar_one() or ""
            new = [
                one
                for one in listed
                # A call removed from the history is none that we never placed.
                if one.retell_call_id not in known
                and (one.call_id is None or one.call_id > pruned_to)
            ]
            # Their worker is just submitting them, or looking them up.
            held = set(
                connection.execute(
                    select(attempts.c.id).where(
                        attempts.c.id.in_([one.attempt_id or "" for one in new]),
                        UNSETTLED,
                        attempts.c.lease_token.is_not(None),
                        attempts.c.lease_until > now,
                    )
                ).scalars()
            )
            return [one for one in new if one.attempt_id not in held]

        return await self._database.read(look)

    async def adopt(self, listed: ListedCall, bodies: Sequence[bytes]) -> str | None:
        """See the port."""

        def work(connection: Connection) -> str | None:
            now = self._clock.now(connection)
            taken = self._take(connection, now, bodies)
            alarm = next(iter(_alarms_of(taken)), None)
            kind = Drift.ADOPTED
            if all(one.call_id is None for one in taken):
                kind, alarm = Drift.UNKNOWN_CALL, Alarm.UNKNOWN_CALL.value
                row = alarm_row(
                    Alarm.UNKNOWN_CALL,
                    listed.call_id or "",
                    listed.attempt_id or "",
                    listed.retell_call_id,
                    now,
                )
                connection.execute(insert_or_ignore(connection, alarms), row)
            elif alarm == Alarm.DUPLICATE_DIAL:
                kind = Drift.SECOND_CALL
            _find(connection, now, kind, listed, detail=alarm)
            return alarm

        return await self._database.transact(work)

    async def note(self, trouble: str | None) -> None:
        """See the port."""

        def work(connection: Connection) -> None:
            now = self._clock.now(connection)
            connection.execute(
                update(reconciliation).values(asked_at=now, trouble=trouble, trouble_at=now)
            )

        await self._database.transact(work)

    def _take(self, connection: Connection, now: int, bodies: Sequence[bytes]) -> list[Taken]:
        incoming = [Incoming(body, body_sha256(body), now, "asked") for body in bodies]
        events = [read_event(one) for one in incoming]
        return take_events(connection, self._clock, events) if events else []

    def _due(self, now: int, unasked_since: int | None) -> ColumnElement[bool]:
        due = or_(attempts.c.ask_at.is_(None), attempts.c.ask_at <= now)
        if unasked_since is not None:
            due = or_(attempts.c.asked_at.is_(None), attempts.c.asked_at < unasked_since)
        return and_(SILENT, attempts.c.silent_since <= now - self._after_ms, due)


_SILENT_COLUMNS = tuple(
    attempts.c[name]
    for name in (
        "id",
        "call_id",
        "retell_call_id",
        "status",
        "told_started",
        "line_open",
        "silent_since",
        "asked_at",
        "not_found",
    )
)
#: Kinds of findings that leave the call unknown to the attempts.
_LEFT = (Drift.UNKNOWN_CALL, Drift.SECOND_CALL)


def _silent(row: Any, now: int) -> Silent:  # noqa: ANN401
    # News since the last question make what it came to old.
    doubted = row.asked_at is not None and row.asked_at >= row.silent_since
    return Silent(
        call_id=row.call_id,
        attempt_id=row.id,
        retell_call_id=row.retell_call_id,
        silent_since=row.silent_since,
        not_found=row.not_found or 0 if doubted else 0,
        known=Known(
            status=AttemptStatus(row.status),
            told_started=row.told_started,
            line_open=row.line_open,
            silent_ms=now - row.silent_since,
        ),
    )


def _alarms_of(taken: Sequence[Taken]) -> list[str]:
    return [one.alarm for one in taken if one.alarm is not None]


def _finding_id(kind: Drift, retell_call_id: str) -> str:
    return str(uuid.uuid5(_FINDINGS, f"{kind}/{retell_call_id}"))


def _find(
    connection: Connection,
    now: int,
    kind: Drift,
    about: Silent | ListedCall,
    detail: str | None = None,
) -> None:
    row = {
        "id": _finding_id(kind, about.retell_call_id),
        "kind": kind.value,
        "call_id": about.call_id,
        "attempt_id": about.attempt_id,
        "retell_call_id": about.retell_call_id,
        "detail": detail,
        "found_at": now,
        "mended_at": None if kind in _LEFT else now,
    }
    connection.execute(insert_or_ignore(connection, drift), row)


def _vanish(connection: Connection, clock: Clock, learned: Learned) -> bool:
    """Conclude the attempt, unless something was heard of it meanwhile."""
    batch = Batch(*opening(connection, clock))
    batch.lock_attempts(connection, [learned.silent.attempt_id])
    attempt = batch.attempts[learned.silent.attempt_id]
    heard = attempt.state["silent_since"] != learned.silent.silent_since
    if heard or attempt.status not in LIVE:
        return False
    batch.decide(attempt, Vanished(), message=_VANISHED)
    # Its word may still come; for a while it is asked for.
    attempt.set(provisional=True, line_open=False, message=_VANISHED, silent_since=batch.now)
    batch.flush(connection)
    return True

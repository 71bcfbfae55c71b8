"""The drift report: `ports.reconciliation.DriftLog` over the ledger's tables."""

from typing import Any

from sqlalchemy import Connection, func, select

from outdial.adapters.database.engine import Clock, Database
from outdial.adapters.database.tables import SILENT, UNMENDED, attempts, drift, reconciliation
from outdial.core.reconciling import Drift
from outdial.ports.reconciliation import DriftCount, DriftReport, Finding

#: The report is about so long a time, and shows so many findings.
_SINCE_MS = 86_400_000
_NEWEST = 100


class LedgerDriftLog:
    """See `ports.reconciliation.DriftLog`."""

    def __init__(self, database: Database, clock: Clock, after_ms: int) -> None:
        """`after_ms`: silence before an attempt is asked about."""
        self._database = database
        self._clock = clock
        self._after_ms = after_ms

    async def report(self) -> DriftReport:
        """See the port."""

        def look(connection: Connection) -> DriftReport:
            return _report(connection, self._clock.now(connection), self._after_ms)

        return await self._database.read(look)


def _report(connection: Connection, now: int, after_ms: int) -> DriftReport:
    since = now - _SINCE_MS
    last = connection.execute(select(reconciliation)).one()
    counts = connection.execute(
        select(drift.c.kind, func.count().label("found"), func.count(drift.c.mended_at))
        .where(drift.c.found_at >= since)
        .group_by(drift.c.kind)
        .order_by(drift.c.kind)
    )
    unmended = connection.execute(
        select(func.count()).select_from(drift).where(UNMENDED, drift.c.found_at >= since)
    ).scalar_one()
    silent, not_found, oldest, provisional = connection.execute(_left(now - after_ms)).one()
    newest = connection.execute(
        select(drift)
        .where(drift.c.found_at >= since)
        .order_by(drift.c.found_at.desc(), drift.c.id.desc())
        .limit(_NEWEST)
    )
    return DriftReport(
        as_of=now,
        since=since,
        asked_at=last.asked_at,
        searched_at=last.searched_at,
        trouble=last.trouble,
        counts=tuple(DriftCount(Drift(kind), found, mended) for kind, found, mended in counts),
        unmended=unmended,
        silent=silent,
        not_found=not_found,
        provisional=provisional,
        oldest_silent_since=oldest,
        findings=tuple(_finding(row) for row in newest),
    )


def _left(silent_before: int) -> Any:  # noqa: ANN401
    live = ~attempts.c.provisional
    silent = attempts.c.silent_since <= silent_before
    doubted = (attempts.c.not_found > 0) & (attempts.c.asked_at >= attempts.c.silent_since)
    return (
        select(
            func.count().filter(live & silent),
            func.count().filter(live & doubted),
            func.min(attempts.c.silent_since).filter(live & silent),
            func.count().filter(attempts.c.provisional),
        )
        .select_from(attempts)
        .where(SILENT)
    )


def _finding(row: Any) -> Finding:  # noqa: ANN401
    return Finding(
        kind=Drift(row.kind),
        call_id=row.call_id,
        attempt_id=row.attempt_id,
        retell_call_id=row.retell_call_id,
        detail=row.detail,
        found_at=row.found_at,
        mended_at=row.mended_at,
    )

"""Calls as they are asked for: `ports.intake.Intake` over the ledger's tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, update

from outdial.adapters.database.engine import Clock, Database, insert_or_ignore
from outdial.adapters.database.tables import PUBLISHED, calls, idempotency_keys, pauses
from outdial.adapters.database.transitions import Batch
from outdial.adapters.database.views import call_page, call_record
from outdial.adapters.database.workspace import lane_of, opening, read_workspace
from outdial.adapters.database.writes import Insert, write
from outdial.core.call import CallStatus, Request, decide_call
from outdial.ports.intake import (
    Accepted,
    CallPage,
    CallRecord,
    CancelOutcome,
    KeyConflict,
    KeyUse,
    NewCall,
    Pause,
)

#: CONTRACT: idempotency keys are kept for 30 days.
KEY_LIFETIME_MS = 30 * 24 * 3600 * 1000
#: Nobody needs the number of calls ahead beyond this.
_COUNT_LIMIT = 1_000_000
_NEW_CALLS = Insert("new_calls", calls)


class LedgerIntake:
    """See `ports.intake.Intake`; each method is one transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Both shared with the rest of the ledger."""
        self._database = database
        self._clock = clock

    async def accept(
        self, new_calls: Sequence[NewCall], *, publish: bool
    ) -> list[Accepted | KeyConflict]:
        """See the port."""

        def work(connection: Connection) -> list[Accepted | KeyConflict]:
            return _accept(connection, self._clock.now(connection), new_calls, publish=publish)

        return await self._database.transact(work)

    async def key_use(self, tenant: str, idempotency_key: str) -> KeyUse | None:
        """See the port."""
        wanted = (tenant, idempotency_key)

        def look(connection: Connection) -> KeyUse | None:
            owners: dict[tuple[str, str | None], _Owner] = {}
            _owners(connection, [wanted], self._clock.now(connection) - KEY_LIFETIME_MS, owners)
            owner = owners.get(wanted)
            if owner is None:
                return None
            return KeyUse(owner.call_id, owner.status, owner.request_hash)

        return await self._database.read(look)

    async def unpublish(self, call_ids: Sequence[str]) -> None:
        """See the port."""
        await self._database.transact(lambda connection: unpublish(connection, call_ids))

    async def published_ahead(self) -> int | None:
        """See the port."""

        def look(connection: Connection) -> int | None:
            if read_workspace(connection, self._clock, lock=False).stopped is not None:
                return None
            return count_published(connection, _COUNT_LIMIT)

        return await self._database.read(look)

    async def get(self, tenant: str | None, call_id: str) -> CallRecord | None:
        """See the port."""
        return await self._database.read(
            lambda connection: call_record(connection, tenant, call_id)
        )

    async def page(  # noqa: PLR0913 - one argument a filter
        self,
        tenant: str | None,
        *,
        status: CallStatus | None = None,
        external_id: str | None = None,
        campaign: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> CallPage:
        """See the port."""
        wanted = {"status": status, "external_id": external_id, "campaign": campaign}
        filters = {name: str(value) for name, value in wanted.items() if value is not None}
        return await self._database.read(
            lambda connection: call_page(connection, tenant, filters, cursor, limit)
        )

    async def cancel(self, tenant: str | None, call_id: str) -> CancelOutcome | None:
        """See the port."""

        def work(connection: Connection) -> CancelOutcome | None:
            batch = Batch(*opening(connection, self._clock))
            batch.lock_calls(connection, calls.c.id == call_id)
            call = batch.calls.get(call_id)
            if call is None or tenant not in {None, call.tenant}:
                return None
            verdict = decide_call(
                call.status, Request.CANCEL, call_told=call.state["told_initiated"]
            )
            batch.apply_to_call(call, verdict)
            batch.flush(connection)
            record = call_record(connection, tenant, call_id)
            return None if record is None else CancelOutcome(verdict.granted, record)

        return await self._database.transact(work)

    async def pause(self, tenant: str | None, campaign: str | None) -> None:
        """See the port."""

        def work(connection: Connection) -> None:
            row = {
                "tenant": tenant or "",
                "campaign": campaign or "",
                "since": self._clock.now(connection),
            }
            connection.execute(insert_or_ignore(connection, pauses), row)

        await self._database.transact(work)

    async def resume(self, tenant: str | None, campaign: str | None) -> None:
        """See the port."""
        statement = delete(pauses)
        if tenant is not None or campaign is not None:
            statement = statement.where(
                pauses.c.tenant == (tenant or ""), pauses.c.campaign == (campaign or "")
            )
        await self._database.transact(lambda connection: connection.execute(statement).close())

    async def pauses(self) -> list[Pause]:
        """See the port."""
        query = select(pauses).order_by(pauses.c.since)

        def look(connection: Connection) -> list[Pause]:
            return [
                Pause(row.tenant or None, row.campaign or None, row.since)
                for row in connection.execute(query)
            ]

        return await self._database.read(look)


def unpublish(connection: Connection, call_ids: Sequence[str]) -> None:
    """Their hints did not get through: the relay is to send them."""
    connection.execute(
        update(calls)
        .where(calls.c.id.in_(call_ids), calls.c.status == CallStatus.QUEUED.value)
        .values(published_at=None)
    )


def count_published(connection: Connection, limit: int) -> int:
    """Calls whose hint is on its way and that nobody has claimed, up to `limit`."""
    ahead = select(calls.c.published_at).where(PUBLISHED).limit(limit).subquery()
    return int(connection.execute(select(func.count()).select_from(ahead)).scalar_one())


def _accept(
    connection: Connection, now: int, new_calls: Sequence[NewCall], *, publish: bool
) -> list[Accepted | KeyConflict]:
    answers: dict[str, Accepted | KeyConflict] = {}
    owners = _claim_keys(connection, now, new_calls)
    rows = []
    for call in new_calls:
        key = (call.tenant, call.idempotency_key)
        owner = owners.get(key)
        if owner is None or (owner.fresh and owner.call_id == call.id):
            row = _row(call, now, publish=publish)
            rows.append(row)
            answers[call.id] = Accepted(call.id, CallStatus(row["status"]))
        elif owner.request_hash == call.request_hash:
            # The same id: this very request, tried again after its commit went unanswered.
            replayed = owner.call_id != call.id
            answers[call.id] = Accepted(owner.call_id, owner.status, replayed=replayed)
        else:
            answers[call.id] = KeyConflict(owner.call_id)
    if rows:
        write(connection, [(_NEW_CALLS, rows)])
    return [answers[call.id] for call in new_calls]


@dataclass(frozen=True, slots=True)
class _Owner:
    """Whose an idempotency key is; `fresh`: since this very transaction."""

    call_id: str
    request_hash: str
    status: CallStatus
    fresh: bool = False


def _claim_keys(
    connection: Connection, now: int, new_calls: Sequence[NewCall]
) -> dict[tuple[str, str | None], _Owner]:
    """Take the keys that are free; of every key in the batch say whose it is."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for call in new_calls:
        if call.idempotency_key is not None:
            rows.setdefault(
                (call.tenant, call.idempotency_key),
                {
                    "tenant": call.tenant,
                    "key": call.idempotency_key,
                    "request_hash": call.request_hash or "",
                    "call_id": call.id,
                    "created_at": now,
                },
            )
    if not rows:
        return {}
    taken = _insert_keys(connection, list(rows.values()))
    missing = [key for key in rows if key not in taken]
    owners: dict[tuple[str, str | None], _Owner] = {}
    due = {call.id: call for call in new_calls}
    if missing:
        stale = _owners(connection, missing, now - KEY_LIFETIME_MS, owners)
        if stale:
            connection.execute(delete(idempotency_keys).where(_any_of(stale)))
            taken |= _insert_keys(connection, [rows[key] for key in stale])
    for key in taken:
        row = rows[key]
        status = _first_status(due[row["call_id"]], now)
        owners[key] = _Owner(row["call_id"], row["request_hash"], status, fresh=True)
    return owners


def _insert_keys(connection: Connection, rows: list[dict[str, Any]]) -> set[tuple[str, str]]:
    statement = insert_or_ignore(connection, idempotency_keys).returning(
        idempotency_keys.c.tenant, idempotency_keys.c.key
    )
    return {(row.tenant, row.key) for row in connection.execute(statement, rows)}


def _owners(
    connection: Connection,
    keys: Sequence[tuple[str, str]],
    too_old: int,
    owners: dict[tuple[str, str | None], _Owner],
) -> list[tuple[str, str]]:
    """Fill in who owns `keys`; the keys whose time is over are given back instead."""
    query = (
        select(idempotency_keys, calls.c.status)
        .select_from(idempotency_keys.outerjoin(calls, calls.c.id == idempotency_keys.c.call_id))
        .where(_any_of(keys))
    )
    stale = []
    for row in connection.execute(query):
        if row.created_at < too_old or row.status is None:
            stale.append((row.tenant, row.key))
        else:
            owners[row.tenant, row.key] = _Owner(
                row.call_id, row.request_hash, CallStatus(row.status)
            )
    return stale


def _any_of(keys: Sequence[tuple[str, str]]) -> ColumnElement[bool]:
    tenants = {tenant for tenant, _ in keys}
    # A batch is one tenant's; were it several's, a key too many would only be read.
    return and_(
        idempotency_keys.c.tenant.in_(tenants),
        idempotency_keys.c.key.in_([key for _, key in keys]),
    )


def _first_status(call: NewCall, now: int) -> CallStatus:
    waits = call.not_before is not None and call.not_before > now
    return CallStatus.SCHEDULED if waits else CallStatus.QUEUED


def _row(call: NewCall, now: int, *, publish: bool) -> dict[str, Any]:
    status = _first_status(call, now)
    return {
        "id": call.id,
        "tenant": call.tenant,
        "status": status.value,
        "to_number": call.to_number,
        "from_number": call.from_number,
        "agent_id": call.agent_id,
        "agent_version": call.agent_version,
        "dynamic_variables": _kept(call.dynamic_variables),
        "metadata": _kept(call.metadata),
        "external_id": call.external_id,
        "campaign": call.campaign,
        "time_zone": call.time_zone,
        "not_before": call.not_before,
        "expires_at": call.expires_at,
        "lane": lane_of(call.tenant, call.campaign),
        "due_at": max(now, call.not_before or 0),
        "published_at": now if publish and status is CallStatus.QUEUED else None,
        "attempts": 0,
        "sequence": 0,
        "told_initiated": False,
        "created_at": now,
        "updated_at": now,
        "version": 1,
        "loaded_version": 0,
    }


def _kept(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """As it was asked for: empty is not absent."""
    return None if value is None else dict(value)

"""Claims and what comes of them: `ports.dialing.Dialing` over the ledger's tables."""

from collections.abc import Sequence

from sqlalchemy import Connection, Select, bindparam, func, or_, select, update

from outdial.adapters.database.claiming import Claiming, DialingRules
from outdial.adapters.database.engine import Clock, Database
from outdial.adapters.database.locked_rows import LockedAttempt
from outdial.adapters.database.recording import record_answers
from outdial.adapters.database.status import read_status
from outdial.adapters.database.tables import (
    LINE_OPEN,
    UNSETTLED,
    UNSTOPPED,
    alarms,
    attempts,
    calls,
    provider_events,
    workspace,
)
from outdial.adapters.database.transitions import Batch
from outdial.adapters.database.workspace import read_workspace, write_circuit, write_workspace
from outdial.core import call as core
from outdial.core.call import CallStatus
from outdial.core.circuit import Circuit, CircuitState, Trouble, after_read
from outdial.ports.dialing import (
    Answer,
    Claim,
    DialingStatus,
    NotClaimed,
    Permits,
    Recorded,
    SecondDial,
)

__all__ = ["DialingRules", "LedgerDialing"]


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
                return Permits(0, 500, space.stopped)
            lines = space.free_lines(limits)
            free = min(lines, int(space.tokens))
            if space.circuit.state is CircuitState.HALF_OPEN:
                free = min(free, 1)
            missing = max(0.0, 1.0 - space.tokens)
            return Permits(free, int(missing / limits.rate * 1000) + 1 if lines else 250)

        return await self._database.read(look)

    async def claim(self, call_ids: Sequence[str]) -> list[Claim | NotClaimed]:
        """See the port."""

        def work(connection: Connection) -> list[Claim | NotClaimed]:
            return Claiming(connection, self._clock, self._rules).run(call_ids)

        return await self._database.transact(work)

    async def take_over(self, limit: int) -> list[Claim]:
        """See the port."""

        def look(connection: Connection) -> Sequence[str]:
            space = read_workspace(connection, self._clock, lock=False)
            if not _answers_questions(space.circuit):
                return []
            return connection.execute(_leaderless(space.now, limit)).scalars().all()

        call_ids = await self._database.read(look)
        if not call_ids:
            return []
        return [one for one in await self.claim(call_ids) if isinstance(one, Claim)]

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
            lease_until = now + self._rules.lease_ms
            attempt.set(lease_until=lease_until)
            batch.flush(connection)
            if space.circuit.state is not CircuitState.CLOSED:
                write_circuit(connection, space.circuit.probing(attempt.id, lease_until))
            return True

        return await self._database.transact(work)

    async def record(self, answers: Sequence[Answer]) -> list[Recorded]:
        """See the port."""

        def work(connection: Connection) -> list[Recorded]:
            return record_answers(connection, self._clock, self._rules.look_ups, answers)

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

    async def witness(self) -> str | None:
        """See the port."""
        return await self._database.read(lambda c: c.execute(_WITNESS).scalar_one_or_none())

    async def reached(self) -> CircuitState:
        """See the port."""

        def look(connection: Connection) -> Circuit:
            return read_workspace(connection, self._clock, lock=False).circuit

        def work(connection: Connection) -> Circuit:
            space = read_workspace(connection, self._clock, lock=True)
            circuit = after_read(space.circuit, space.now)
            if circuit != space.circuit:
                write_circuit(connection, circuit)
            return circuit

        circuit = await self._database.read(look)
        if circuit.state is CircuitState.OPEN:
            circuit = await self._database.transact(work)
        return circuit.state

    async def status(self) -> DialingStatus:
        """See the port."""

        def look(connection: Connection) -> DialingStatus:
            return read_status(connection, self._clock)

        return await self._database.read(look)

    async def second_dials(self, limit: int) -> list[SecondDial]:
        """See the port."""
        query = select(alarms.c.id, alarms.c.attempt_id, alarms.c.retell_call_id)
        query = query.where(UNSTOPPED).order_by(alarms.c.raised_at).limit(limit)

        def look(connection: Connection) -> list[SecondDial]:
            return [SecondDial(*row) for row in connection.execute(query)]

        return await self._database.read(look)

    async def stopped(self, second: SecondDial) -> None:
        """See the port."""

        def work(connection: Connection) -> None:
            now = self._clock.now(connection)
            found = update(alarms).where(alarms.c.id == second.alarm_id)
            connection.execute(found.values(stopped_at=now))

        await self._database.transact(work)


def _answers_questions(circuit: Circuit) -> bool:
    """Whether a look-up can be believed to reach the platform we dial through."""
    return circuit.state is not CircuitState.OPEN or circuit.trouble is Trouble.PAYMENT


def _leaderless(now: int, limit: int) -> Select[str]:
    """Calls whose attempt is not settled and belongs to nobody any more."""
    return (
        select(calls.c.id)
        .select_from(attempts.join(calls, attempts.c.call_id == calls.c.id))
        .where(UNSETTLED, attempts.c.lease_until <= now, calls.c.status == CallStatus.DIALING.value)
        .order_by(attempts.c.lease_until)
        .limit(limit)
    )


#: So far back is looked for one that is not of somebody else's call.
_TOLD_LAST = (
    select(provider_events.c.retell_call_id, provider_events.c.call_id)
    .order_by(provider_events.c.received_at.desc())
    .limit(1000)
    .subquery()
)
_WITNESS = select(_TOLD_LAST.c.retell_call_id).where(_TOLD_LAST.c.call_id.is_not(None)).limit(1)

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


def _owned(attempt: LockedAttempt, token: str) -> bool:
    return attempt.status in core.UNSETTLED and attempt.state["lease_token"] == token

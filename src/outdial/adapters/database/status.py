"""How dialing stands: the circuit, what is doubtful, what must never happen and did."""

from sqlalchemy import Connection, and_, func, select

from outdial.adapters.database.engine import Clock
from outdial.adapters.database.tables import UNSETTLED, alarms, attempts
from outdial.adapters.database.workspace import read_workspace
from outdial.core.call import AttemptStatus
from outdial.ports.dialing import DialingStatus

#: Alarms this young, in ms, are shown where somebody looks at how things are.
_RECENT_MS = 86_400_000

_UNKNOWN = select(func.count(), func.min(attempts.c.unknown_since)).where(
    and_(UNSETTLED, attempts.c.status == AttemptStatus.UNKNOWN.value)
)


def read_status(connection: Connection, clock: Clock) -> DialingStatus:
    """Of one moment."""
    space = read_workspace(connection, clock, lock=False)
    unknown, since = connection.execute(_UNKNOWN).one()
    raised = select(alarms.c.kind, func.count()).where(alarms.c.raised_at > space.now - _RECENT_MS)
    found = connection.execute(raised.group_by(alarms.c.kind).order_by(alarms.c.kind))
    circuit = space.circuit
    return DialingStatus(
        at=space.now,
        circuit=circuit.state,
        trouble=circuit.trouble,
        reason=circuit.reason,
        since=circuit.opened_at,
        probe_at=None if circuit.trouble is None else circuit.probe_at,
        paused=("", "") in space.paused,
        unknown=unknown,
        unknown_since=since,
        alarms={row[0]: row[1] for row in found},
    )

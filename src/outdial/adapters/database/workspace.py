"""The workspace row: who we are, the dial rate, the circuit, the lines; and the stop buttons."""

from dataclasses import dataclass, fields, replace
from typing import Any

from sqlalchemy import Connection, Row, func, select, true, update

from outdial.adapters.database.engine import Clock
from outdial.adapters.database.tables import LINE_OPEN, attempts, pauses, workspace
from outdial.core.circuit import Circuit, CircuitState, Trouble

#: Separates tenant and campaign in a lane; in neither of them allowed.
SEPARATOR = "\x1f"
#: The id of the one row there is.
WORKSPACE = 1


def lane_of(tenant: str, campaign: str | None) -> str:
    """Whose turn a call waits for."""
    return f"{tenant}{SEPARATOR}{campaign or ''}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the configuration allows: calls a second, calls at once."""

    rate: float
    lines: int

    @property
    def bucket(self) -> float:
        """What the bucket holds: one second of dialing, and at least one call."""
        return max(1.0, self.rate)


@dataclass(frozen=True, slots=True)
class Workspace:
    """The row as read; `now` in ms, `running` counts the attempts that hold a permit."""

    deployment: str
    now: int
    tokens: float
    tokens_at: int
    circuit: Circuit
    line_limit: int | None
    line_offset: int
    running: int
    paused: frozenset[tuple[str, str]]

    @property
    def stopped(self) -> str | None:
        """Why nothing at all is dialed; None when something may be."""
        if not self.circuit.admits(self.now):
            half = self.circuit.state is CircuitState.HALF_OPEN
            told = "half-open, one call is being tried" if half else "open"
            return f"circuit {told}: {self.circuit.reason}"
        return "paused" if ("", "") in self.paused else None

    def lane_paused(self, lane: str) -> bool:
        """Whether a stop button holds this lane."""
        tenant, _, campaign = lane.partition(SEPARATOR)
        return bool(
            self.paused
            and self.paused & {("", ""), (tenant, ""), ("", campaign), (tenant, campaign)}
        )

    def refilled(self, limits: Limits) -> "Workspace":
        """The bucket as it is now. A clock that went back adds nothing."""
        gained = max(0, self.now - self.tokens_at) / 1000 * limits.rate
        return replace(self, tokens=min(limits.bucket, self.tokens + gained), tokens_at=self.now)

    def free_lines(self, limits: Limits) -> int:
        """Lines nobody uses, by our count as the platform corrected it."""
        limit = limits.lines if self.line_limit is None else min(limits.lines, self.line_limit)
        return max(0, limit - max(0, self.running + self.line_offset))


def read_workspace(connection: Connection, clock: Clock, *, lock: bool) -> Workspace:
    """Read the row, locked where permits are taken; count, pauses and time of the same moment."""
    if lock:
        # The count must see what the transaction before us did, so the lock comes first; the time
        # as well, or others' refills would be counted again.
        lock_workspace(connection)
    found, now = clock.beside(connection, _WORKSPACE)
    row = found[0]
    return Workspace(
        deployment=row.deployment,
        now=now,
        tokens=row.tokens,
        tokens_at=row.tokens_at,
        circuit=circuit_of(row),
        line_limit=row.line_limit,
        line_offset=row.line_offset,
        running=row.running,
        paused=frozenset((one.tenant, one.campaign) for one in found if one.tenant is not None),
    )


def lock_workspace(connection: Connection) -> None:
    """Hold the row until the transaction ends; comes before any lock on a call."""
    connection.execute(_LOCK)


_LOCK = select(workspace.c.id).with_for_update()
_RUNNING = select(func.count()).select_from(attempts).where(LINE_OPEN).scalar_subquery()
#: A row a pause, and one where there is none.
_WORKSPACE = select(
    workspace, _RUNNING.label("running"), pauses.c.tenant, pauses.c.campaign
).select_from(workspace.outerjoin(pauses, true()))


_DEPLOYMENT = select(workspace.c.deployment)


def deployment_of(connection: Connection) -> str:
    """The deployment's id, made at the first `db upgrade`."""
    return str(connection.execute(_DEPLOYMENT).scalar_one())


def opening(connection: Connection, clock: Clock) -> tuple[str, int]:
    """What every batch begins with: the deployment's id, and the time in ms."""
    (row,), now = clock.beside(connection, _DEPLOYMENT)
    return row.deployment, now


def circuit_of(row: Row[Any]) -> Circuit:
    """The circuit out of the workspace's row."""
    values = {name: getattr(row, f"circuit_{name}") for name in _CIRCUIT}
    if values["trouble"] is not None:
        values["trouble"] = Trouble(values["trouble"])
    return Circuit(**values)


def circuit_columns(circuit: Circuit) -> dict[str, Any]:
    """The circuit as columns of the workspace's row."""
    return {f"circuit_{name}": getattr(circuit, name) for name in _CIRCUIT}


_CIRCUIT = tuple(field.name for field in fields(Circuit))
_CIRCUIT_NOW = select(
    workspace.c.deployment, *(workspace.c[f"circuit_{name}"] for name in _CIRCUIT)
)


def opening_with_circuit(connection: Connection, clock: Clock) -> tuple[str, int, Circuit]:
    """`opening`, and the circuit."""
    (row,), now = clock.beside(connection, _CIRCUIT_NOW)
    return row.deployment, now, circuit_of(row)


def write_circuit(connection: Connection, circuit: Circuit) -> None:
    """The workspace's row is locked."""
    write_workspace(connection, **circuit_columns(circuit))


def write_workspace(connection: Connection, **values: Any) -> None:  # noqa: ANN401
    """Change the row."""
    connection.execute(update(workspace).values(**values))

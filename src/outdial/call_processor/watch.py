"""How dialing stands, for those who watch: metrics, log lines where it changes, a health check."""

import asyncio

import structlog

from outdial.core.circuit import CircuitState, Trouble
from outdial.core.times import to_rfc3339
from outdial.errors import Unavailable
from outdial.ports.dialing import Dialing, DialingStatus
from outdial.telemetry import DIALING_STOPPED, UNKNOWN, UNKNOWN_SECONDS

#: Seconds between two looks.
INTERVAL = 2.0

log = structlog.get_logger(__name__)


class Watch:
    """Looks at the ledger's own account of dialing."""

    def __init__(self, dialing: Dialing, interval: float = INTERVAL) -> None:
        """`interval` in seconds."""
        self._dialing = dialing
        self._interval = interval
        self._seen: tuple[CircuitState, Trouble | None] = (CircuitState.CLOSED, None)

    async def run(self) -> None:
        """Until cancelled; what can't be looked at is looked at next time."""
        while True:
            try:
                await self.look()
            except Unavailable as error:
                log.warning("dialing not watched", cause=str(error))
            await asyncio.sleep(self._interval)

    async def look(self) -> DialingStatus:
        """Once."""
        status = await self._dialing.status()
        for trouble in Trouble:
            DIALING_STOPPED.labels(cause=trouble.value).set(status.trouble is trouble)
        DIALING_STOPPED.labels(cause="paused").set(status.paused)
        UNKNOWN.set(status.unknown)
        UNKNOWN_SECONDS.set((status.at - (status.unknown_since or status.at)) / 1000)
        seen = (status.circuit, status.trouble)
        if seen != self._seen:
            self._seen = seen
            _tell(status)
        return status


def _tell(status: DialingStatus) -> None:
    match status.circuit:
        case CircuitState.CLOSED:
            log.warning("dialing goes on")
        case CircuitState.HALF_OPEN:
            log.warning("dialing tried", trouble=status.trouble, reason=status.reason)
        case CircuitState.OPEN:  # pragma: no branch - mypy proves it the last
            log.critical("dialing stopped", trouble=status.trouble, reason=status.reason)


def dialing(status: DialingStatus) -> str | None:
    """What a person should know though all goes on. Raises `Unavailable` where dialing stopped."""
    if status.circuit is not CircuitState.CLOSED:
        since = to_rfc3339(status.since or status.at)
        tried = "one call is being tried" if status.circuit is CircuitState.HALF_OPEN else "open"
        detail = f"dialing stopped since {since} ({status.trouble}): {status.reason}; {tried}"
        raise Unavailable("Retell workspace", detail)
    notes = [f"{count} x alarm {kind} in 24 h" for kind, count in status.alarms.items()]
    if status.unknown:
        since = to_rfc3339(status.unknown_since or status.at)
        notes.append(f"{status.unknown} submissions of unknown fate, the oldest since {since}")
    return "; ".join(notes) or None

"""Whether calls are dialed at all, and what is not settled."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from outdial.core.circuit import CircuitState
from outdial.core.times import to_rfc3339
from outdial.http_common.auth import Authentication
from outdial.http_common.bodies import json_response
from outdial.ports.dialing import DialingStatus
from outdial.ports.keys import Scope

Status = Callable[[], Awaitable[DialingStatus]]


class Standing:
    """For everyone who may look at calls: it is the same for all of them."""

    def __init__(self, status: Status, authentication: Authentication) -> None:
        """The route authenticates before it reads anything."""
        self._status = status
        self._authentication = authentication

    async def show(self, request: Request) -> Response:
        """Show whether calls are dialed; if not, why and since when."""
        await self._authentication.caller(request, Scope.CALLS_READ)
        return json_response(status_json(await self._status()))


def status_json(status: DialingStatus) -> dict[str, Any]:
    """How dialing stands, as JSON."""
    return {
        "as_of": to_rfc3339(status.at),
        "dialing": status.circuit is CircuitState.CLOSED and not status.paused,
        "paused": status.paused,
        "circuit": {
            "state": status.circuit.value,
            "trouble": None if status.trouble is None else status.trouble.value,
            "reason": status.reason,
            "since": _time(status.since),
            "next_probe_at": _time(status.probe_at),
        },
        "unknown_submissions": {
            "count": status.unknown,
            "oldest_since": _time(status.unknown_since),
        },
        "alarms_24h": dict(status.alarms),
    }


def _time(at: int | None) -> str | None:
    return None if at is None else to_rfc3339(at)

"""What the pages say above the figures when nothing is dialed.

The figures come from the warehouse; this comes from the ledger, for it is not about calls that
were but about whether there will be any.
"""

from collections.abc import Awaitable, Callable

from outdial.core.circuit import CircuitState, Trouble
from outdial.core.times import to_rfc3339
from outdial.errors import Unavailable
from outdial.ports.dialing import DialingStatus

Status = Callable[[], Awaitable[DialingStatus]]

_WHY = {
    Trouble.KEY: "Retell refuses the API key",
    Trouble.PAYMENT: "Retell asks to be paid",
    Trouble.OUTAGE: "Retell does not answer",
}


async def notice(status: Status | None) -> str | None:
    """One or two sentences; None while calls are dialed, or where nobody knows."""
    if status is None:
        return None
    try:
        found = await status()
    except Unavailable:
        return None
    if found.trouble is not None:
        since = to_rfc3339(found.since or found.at)
        goes_on = (
            "One call is being tried now."
            if found.circuit is CircuitState.HALF_OPEN
            else "It goes on by itself when that is over."
        )
        return (
            f"Dialing has stopped: {_WHY[found.trouble]} ({found.reason}), since {since}. "
            f"Calls wait; none is lost. {goes_on}"
        )
    if found.paused:
        return "Dialing is paused. Calls wait until `outdial resume`."
    return None

"""Calls at Retell that carry our name and that the ledger does not know."""

from collections.abc import Sequence

import structlog

from outdial.core.call import Alarm
from outdial.core.reconciling import adoption
from outdial.errors import Unavailable
from outdial.ports.platform import ListedCall, VoicePlatform
from outdial.ports.reconciliation import Reconciliation
from outdial.reconciler.asking import Rules, written
from outdial.reconciler.pacing import Pacing
from outdial.telemetry import ALARMS, DRIFT

log = structlog.get_logger(__name__)

#: How often, and how far back, in ms.
EVERY_MS = 600_000
BACK_MS = 7_200_000
#: Calls that never connected have no start, and where Retell sorts them is not known.
_MOST_CALLS = 250_000


class Searching:
    """Looks through Retell's newest calls of this deployment; `round` is repeated by the stage."""

    def __init__(
        self, ledger: Reconciliation, platform: VoicePlatform, rules: Rules, pacing: Pacing
    ) -> None:
        """`pacing` is shared with the asking."""
        self._ledger = ledger
        self._platform = platform
        self._after_ms = round(rules.after * 1000)
        self._analysis_after_ms = round(rules.analysis_after * 1000)
        self._pacing = pacing

    async def round(self, *, every_ms: int = EVERY_MS) -> int:
        """Search where nobody has within `every_ms`; how many unknown calls were found.

        Raises `Unavailable` where Retell or the ledger does not answer.
        """
        if not await self._ledger.claim_search(every_ms):
            return 0
        deployment = await self._ledger.deployment()
        oldest = await self._ledger.now() - BACK_MS
        found = seen = 0
        await self._pacing.turn()
        async for page in self._platform.calls_of(deployment, newest_first=True):
            for listed in await self._ledger.unknown(page):
                found += await self._adopt(listed)
            seen += len(page)
            if seen >= _MOST_CALLS or _all_before(oldest, page):
                break
            await self._pacing.turn()
        return found

    async def _adopt(self, listed: ListedCall) -> int:
        await self._pacing.turn()
        call = await self._platform.get_call(listed.retell_call_id)
        if call is None:
            # Deleted since it was listed.
            return 0
        if call.get("call_id") != listed.retell_call_id:
            raise Unavailable("Retell", "get-call answered with another call")
        events = adoption(call, after_ms=self._after_ms, analysis_after_ms=self._analysis_after_ms)
        alarm = await self._ledger.adopt(listed, [written(event) for event in events])
        DRIFT.labels(kind="adopted" if alarm is None else alarm).inc()
        log.warning("unknown_call", retell_call_id=listed.retell_call_id, call_id=listed.call_id)
        if alarm is not None:
            ALARMS.labels(alarm=alarm).inc()
            log.critical("alarm", alarm=alarm, call_id=listed.call_id)
        if alarm == Alarm.DUPLICATE_DIAL:
            await self._platform.stop_call(listed.retell_call_id)
        return 1


def _all_before(oldest: int, page: Sequence[ListedCall]) -> bool:
    """Whether the page has calls that began, and none of them since `oldest`."""
    began = [listed.started_at for listed in page if listed.started_at is not None]
    return bool(began) and max(began) < oldest

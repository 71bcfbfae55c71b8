"""Calls that have not ended: each has a reason to wait, or is looked at again and then told."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from outdial.audit.report import Report, Violation
from outdial.audit.waiting import Times, Wait, wait_of
from outdial.core.call import CALL_ENDS
from outdial.ports.audit import AuditedCall, CallsAtOnce, LedgerAudit
from outdial.ports.platform import VoicePlatform

Sleep = Callable[[float], Awaitable[None]]

#: How often, and after how many seconds, a call that looks stuck is looked at again: dialing that
#: was resumed a moment ago, and stages that were started, need as long to begin.
_LOOKS, _PAUSE = 5, 1.0
#: Suspects remembered for it; those beyond are told at first sight.
_REMEMBERED = 10_000
_PAGE = 500
_UNDER_WAY = frozenset({"registered", "ongoing"})


class Suspects:
    """What the calls of an audit wait for."""

    def __init__(
        self,
        ledger: LedgerAudit,
        times: Times,
        report: Report,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Findings go to `report`."""
        self._ledger = ledger
        self._times = times
        self._report = report
        self._sleep = sleep
        self._stuck: list[str] = []
        self._silent: list[str] = []

    def see(self, page: CallsAtOnce) -> None:
        """Sort the calls of a page that have not ended."""
        for call, wait in self._waits(page):
            number = len(call.tries) or None
            if wait.overdue is not None:
                if len(self._stuck) < _REMEMBERED:
                    self._stuck.append(call.id)
                else:
                    self._tell(call, wait.overdue, number)
            elif wait.ask and len(self._silent) < _REMEMBERED:
                self._silent.append(call.id)
            else:
                self._report.waiting[wait.reason] += 1

    async def settle(self, platform: VoicePlatform | None) -> None:
        """Look at the suspects again, and ask the provider about those that it is silent about."""
        await self._look_again()
        await self._ask(platform)

    async def _look_again(self) -> None:
        stuck = self._stuck
        for look in range(1, _LOOKS + 1):
            if not stuck:
                return
            await self._sleep(_PAUSE)
            found = [one for ids in _portions(stuck) for one in await self._again(ids)]
            stuck = []
            for call, wait in found:
                if wait.overdue is None:
                    self._report.waiting[wait.reason] += 1
                elif look == _LOOKS:
                    self._tell(call, wait.overdue, len(call.tries) or None)
                else:
                    stuck.append(call.id)

    async def _ask(self, platform: VoicePlatform | None) -> None:
        if platform is None:
            # They may be talking still: nobody here can know.
            self._report.waiting["news (overdue, nobody asked)"] += len(self._silent)
            return
        for ids in _portions(self._silent):
            said = {call.id: await self._said(platform, call) for call, _ in await self._again(ids)}
            # What it said may have been heard meanwhile.
            for call, wait in await self._again(ids):
                fault = said.get(call.id)
                if not wait.ask or fault is None:
                    self._report.waiting[wait.reason] += 1
                else:
                    self._tell(call, fault, call.tries[-1].number)

    async def _said(self, platform: VoicePlatform, call: AuditedCall) -> str | None:
        """What is wrong with a silent call, by the provider's word; None while it is under way."""
        retell_call_id = call.tries[-1].retell_call_id or ""
        found = await platform.get_call(retell_call_id)
        if found is None:
            return f"the provider does not know {retell_call_id}, and the call waits for its news"
        status = found.get("call_status")
        if status in _UNDER_WAY:
            return None
        return f"{retell_call_id} is {status} at the provider, and nothing was heard of it"

    async def _again(self, call_ids: Sequence[str]) -> list[tuple[AuditedCall, Wait]]:
        return list(self._waits(await self._ledger.calls_by_id(call_ids)))

    def _waits(self, page: CallsAtOnce) -> Iterator[tuple[AuditedCall, Wait]]:
        for call in page.calls:
            if call.status not in CALL_ENDS:
                yield call, wait_of(call, page.now, self._times, ahead=page.ahead)

    def _tell(self, call: AuditedCall, why: str, number: int | None) -> None:
        detail = f"the call is {call.status}: {why}"
        self._report.add(Violation("call_stuck", call.id, number, detail))


def _portions(call_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(call_ids), _PAGE):
        yield call_ids[start : start + _PAGE]

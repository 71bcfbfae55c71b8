"""The audit: everything the ledger holds, read a page at a time and held against every rule.

It may run beside the stages. Each page is one snapshot; what is read at another moment (the
warehouse, the provider) is read after what it is compared with, and what looks wrong then is
read once more before anybody is accused.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Protocol, TypeVar

from outdial.audit.call_rules import check_call
from outdial.audit.inbox_rules import check_event
from outdial.audit.provider_rules import ProviderRules
from outdial.audit.report import LISTED, Report, Violation
from outdial.audit.suspects import Sleep, Suspects
from outdial.audit.waiting import Times
from outdial.audit.warehouse_rules import check_rows
from outdial.errors import OutdialError, Unavailable
from outdial.ports.audit import CallsAtOnce, Extent, LedgerAudit, WarehouseAudit
from outdial.ports.platform import VoicePlatform

T = TypeVar("T")

#: What the ledger's adapter calls itself when it does not answer.
DATABASE = "database"
#: Calls, and provider events, a page.
PAGE = 500
_EVENTS = 2_000
#: A row may change each time it is read; nobody's changes so often that it is never caught.
_READS, _PAUSE = 6, 0.5


class Progress(Protocol):
    """Told how much of all there is has been read."""

    def __call__(self, done: int, total: int) -> None:
        """Must not block."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """The ledger, and what it is compared with.

    An error stands for what can't be reached; None for what is not to be checked.
    """

    ledger: LedgerAudit
    warehouse: WarehouseAudit | OutdialError | None
    provider: VoicePlatform | OutdialError | None


class Auditor:
    """One audit."""

    def __init__(
        self,
        sources: Sources,
        times: Times,
        *,
        progress: Progress = lambda _done, _total: None,
        sleep: Sleep = asyncio.sleep,
        page: int = PAGE,
    ) -> None:
        """`page`: calls read at a time."""
        self.report = Report()
        self._ledger = sources.ledger
        self._warehouse = self._reachable("warehouse", sources.warehouse)
        self._provider = self._reachable("provider", sources.provider)
        self._times = times
        self._suspects = Suspects(sources.ledger, times, self.report, sleep)
        self._progress = progress
        self._sleep = sleep
        self._page = page
        self._done = 0
        self._total = 0

    async def run(self) -> Report:
        """Check everything. Raises `Unavailable` where the ledger itself does not answer."""
        extent = await self._ledger.extent()
        self._total = extent.calls + extent.events
        if self._provider is not None:
            self._total += extent.calls
        await self._calls(extent)
        await self._events()
        await self._alarms()
        await self._listed(extent)
        try:
            await self._suspects.settle(self._provider)
        except Unavailable as error:
            if error.dependency == DATABASE:
                raise
            self._not_checked("provider", error)
        return self.report

    def _reachable(self, what: str, source: T | OutdialError | None) -> T | None:
        if isinstance(source, OutdialError):
            self._not_checked(what, source)
            return None
        return source

    def _not_checked(self, what: str, error: OutdialError) -> None:
        self.report.add(Violation("not_checked", None, None, f"{what}: {error}"))

    def _advance(self, count: int) -> None:
        self._done += count
        self._progress(min(self._done, self._total), self._total)

    async def _calls(self, extent: Extent) -> None:
        report, after = self.report, ""
        while True:
            page = await self._ledger.calls(after, extent.last_call, self._page)
            last = page.calls[-1].id if page.calls else None
            for call in page.calls:
                for violation in check_call(call):
                    report.add(violation)
                report.checked["attempts"] += len(call.tries)
                report.checked["activity_events"] += len(call.activity)
                report.provisional += sum(attempt.provisional for attempt in call.tries)
            report.checked["calls"] += len(page.calls)
            self._suspects.see(page)
            await self._rows(page, after, last, extent.pruned_to)
            self._advance(len(page.calls))
            if last is None:
                return
            after = last

    async def _rows(self, page: CallsAtOnce, after: str, last: str | None, pruned_to: str) -> None:
        """The warehouse's rows of the calls of a page; at the end, of any after them."""
        if self._warehouse is None:
            return
        waiting: Counter[str] = Counter()
        try:
            kept = {call.id for call in page.calls}
            rows = [
                row
                for row in await self._warehouse.between(after, last)
                if row.call_id > pruned_to or row.call_id in kept
            ]
            found = set(check_rows(page.calls, rows, waiting))
            self.report.checked["warehouse_rows"] += len(rows)
            await self._confirm(self._warehouse, found)
        except Unavailable as error:
            if error.dependency == DATABASE:
                raise
            self._not_checked("warehouse", error)
            self._warehouse = None
        self.report.waiting_rows.update(waiting)

    async def _confirm(self, warehouse: WarehouseAudit, found: set[Violation]) -> None:
        """Read the rows again, the ledger's first: what is found twice alike is so.

        A row that was loaded, or is being loaded anew, between the two reads of it looks otherwise
        the next time.
        """
        for read in range(_READS):
            call_ids = {violation.call_id for violation in found if violation.call_id}
            if not call_ids:
                return
            if read > 0:
                await self._sleep(_PAUSE)
            page = await self._ledger.calls_by_id(call_ids)
            rows = await warehouse.of_calls(call_ids)
            again = set(check_rows(page.calls, rows, Counter()))
            for violation in sorted(again & found, key=lambda one: (one.call_id, one.detail)):
                self.report.add(violation)
            found = again - found

    async def _events(self) -> None:
        after = ""
        while True:
            page = await self._ledger.events(after, _EVENTS)
            for event in page.events:
                for violation in check_event(event, page.now, self._times.grace):
                    self.report.add(violation)
            self.report.checked["provider_events"] += len(page.events)
            self._advance(len(page.events))
            if not page.events:
                return
            after = page.events[-1].id

    async def _alarms(self) -> None:
        for alarm in await self._ledger.alarms(LISTED):
            told = f"attempt {alarm.attempt_id}, {alarm.retell_call_id or 'no Retell call'}"
            self.report.add(Violation(alarm.kind, alarm.call_id, None, f"alarm raised for {told}"))

    async def _listed(self, extent: Extent) -> None:
        """The provider's own list, then what the ledger knows of the attempts it names."""
        if self._provider is None:
            return
        rules = ProviderRules()
        try:
            async for page in self._provider.calls_of(extent.deployment):
                named = {listed.attempt_id for listed in page if listed.attempt_id is not None}
                attempts = await self._ledger.attempts(named)
                known = [
                    listed
                    for listed in page
                    if listed.attempt_id in attempts
                    or listed.call_id is None
                    or listed.call_id > extent.pruned_to
                ]
                for violation in rules.check(known, attempts):
                    self.report.add(violation)
                self.report.checked["provider_calls"] += len(page)
                self._advance(len(page))
        except Unavailable as error:
            if error.dependency == DATABASE:
                raise
            self._not_checked("provider", error)
            self._provider = None

"""The warehouse's rows against the ledger's, of some calls at a time."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from outdial.audit.report import Violation
from outdial.ports.audit import AuditedCall, Stamp, WarehouseRow

CALLS, ATTEMPTS, ACTIVITY = "calls", "call_attempts", "activity_events"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A row that the ledger has; `attempt` is the number of the attempt it is about."""

    kind: str
    call_id: str
    attempt: int | None
    stamp: Stamp


def wanted_of(calls: Sequence[AuditedCall]) -> Iterator[Wanted]:
    """The rows that the warehouse is to have of these calls."""
    for call in calls:
        yield Wanted(CALLS, call.id, None, call.stamp)
        for attempt in call.tries:
            yield Wanted(ATTEMPTS, call.id, attempt.number, attempt.stamp)
        for event in call.activity:
            yield Wanted(ACTIVITY, call.id, event.attempt, event.stamp)


def check_rows(
    calls: Sequence[AuditedCall], rows: Sequence[WarehouseRow], waiting: Counter[str]
) -> Iterator[Violation]:
    """What is wrong with `rows`, read after `calls`; rows still to be loaded go to `waiting`."""
    there: dict[tuple[str, str], list[WarehouseRow]] = defaultdict(list)
    for row in rows:
        there[row.kind, row.id].append(row)
    for wanted in wanted_of(calls):
        found = there.pop((wanted.kind, wanted.stamp.id), [])
        yield from _check(wanted, found, waiting)
    for (kind, row_id), found in there.items():
        told = f"{kind} has {row_id}, and the ledger does not"
        yield Violation("warehouse_extra", found[0].call_id, None, told)


def _check(
    wanted: Wanted, found: Sequence[WarehouseRow], waiting: Counter[str]
) -> Iterator[Violation]:
    def broken(rule: str, detail: str) -> Violation:
        return Violation(rule, wanted.call_id, wanted.attempt, detail)

    stamp = wanted.stamp
    what = f"{wanted.kind} {stamp.id}"
    if len(found) > 1:
        yield broken("warehouse_extra", f"{what} is there {len(found)} times")
    version = max((row.version for row in found), default=0)
    if version < stamp.loaded:
        has = f"has version {version} of it" if found else "lacks it"
        told = f"{what} was loaded in version {stamp.loaded}, and the warehouse {has}"
        yield broken("warehouse_missing", told)
    elif version < stamp.version:
        waiting[wanted.kind] += 1
    elif version > stamp.version:
        told = f"{what} has version {version}, the ledger version {stamp.version}"
        yield broken("warehouse_differs", told)
    elif any(row.version == version and row.digest != stamp.digest for row in found):
        yield broken("warehouse_differs", f"{what} differs in version {version}")

"""The ledger as the reconciler sees it: what is silent, and what asking about it came to.

Times in ms. Every method raises `Unavailable("database", …)` when the database does not answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from outdial.core.reconciling import Drift, Known
from outdial.ports.platform import ListedCall


@dataclass(frozen=True, slots=True)
class Silent:
    """An attempt of which nothing was heard since `silent_since`.

    `not_found`: so often in a row Retell did not know it.
    """

    call_id: str
    attempt_id: str
    retell_call_id: str
    silent_since: int
    not_found: int
    known: Known


@dataclass(frozen=True, slots=True)
class Learned:
    """What asking about a silent attempt came to.

    `bodies`: events as JSON, as webhooks bring them. `vanished`: Retell knows it no more.
    `again_ms`: when it is asked about again, should it stay silent.
    """

    silent: Silent
    again_ms: int
    bodies: tuple[bytes, ...] = ()
    drift: Drift | None = None
    not_found: int = 0
    vanished: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that differed. `mended_at` is None where a person has to look."""

    kind: Drift
    call_id: str | None
    attempt_id: str | None
    retell_call_id: str
    detail: str | None
    found_at: int
    mended_at: int | None


@dataclass(frozen=True, slots=True)
class DriftCount:
    """Findings of one kind."""

    kind: Drift
    found: int
    mended: int


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What differed `since`, what of it was mended, and what is left.

    `silent`: attempts under way that were silent long enough to be asked about. `not_found`: those
    of them that Retell did not know when last asked. `provisional`: ended without Retell's word,
    and still asked about. `trouble`: why nothing is asked or closed. `findings`: the newest.
    """

    as_of: int
    since: int
    asked_at: int | None
    searched_at: int | None
    trouble: str | None
    counts: tuple[DriftCount, ...]
    unmended: int
    silent: int
    not_found: int
    provisional: int
    oldest_silent_since: int | None
    findings: tuple[Finding, ...]


class DriftLog(Protocol):
    """What the reconcilers found."""

    async def report(self) -> DriftReport:
        """Of the last day, with the hundred newest findings."""
        ...


class Reconciliation(DriftLog, Protocol):
    """The work of the reconciler; any number of them may share it."""

    async def now(self) -> int:
        """The ledger's clock."""
        ...

    async def deployment(self) -> str:
        """The name that our calls carry at Retell."""
        ...

    async def silent(self, limit: int, *, unasked_since: int | None = None) -> list[Silent]:
        """Attempts to ask about now, longest silent first; they are this caller's for a minute.

        `unasked_since`: also those whose next time has not come, unless asked since.
        """
        ...

    async def witnesses(self, silent: Silent, limit: int) -> list[str]:
        """Retell's ids of calls dialed before this one that Retell itself has ended."""
        ...

    async def learned(self, learned: Learned) -> list[str]:
        """Events, end, finding and the next time in one commit; alarms that were raised."""
        ...

    async def claim_search(self, every_ms: int) -> bool:
        """Whether to look for unknown calls now: nobody has within `every_ms`."""
        ...

    async def unknown(self, listed: Sequence[ListedCall]) -> list[ListedCall]:
        """Those that the ledger does not know, and that nobody is just submitting."""
        ...

    async def adopt(self, listed: ListedCall, bodies: Sequence[bytes]) -> str | None:
        """Take a call that was found into the ledger, in one commit; an alarm it raised.

        Where the ledger has no such attempt, it is recorded and alarmed of.
        """
        ...

    async def note(self, trouble: str | None) -> None:
        """What the last round came to, for the report."""
        ...

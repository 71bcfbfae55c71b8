"""What the provider lists, against the ledger.

The list is read before the ledger: whatever was submitted was in the ledger before, so calls
under way can't raise an alarm.
"""

from collections.abc import Iterator, Mapping, Sequence

from outdial.audit.report import Violation
from outdial.core.call import LIVE, UNSETTLED
from outdial.ports.audit import AuditedAttempt
from outdial.ports.platform import ListedCall


class ProviderRules:
    """Judges the provider's calls, a page at a time."""

    def __init__(self) -> None:
        """Remembers the calls of attempts whose answer is still awaited: a few at any time."""
        self._awaited: dict[str, str] = {}

    def check(
        self,
        page: Sequence[ListedCall],
        attempts: Mapping[str, tuple[str, AuditedAttempt]],
    ) -> Iterator[Violation]:
        """Every rule that these calls break; `attempts` are those they name, with their calls."""
        for listed in page:
            found = attempts.get(listed.attempt_id or "")
            if found is None:
                told = f"{listed.retell_call_id} names attempt {listed.attempt_id}"
                yield Violation("unknown_dial", listed.call_id, None, f"{told}: not in the ledger")
                continue
            call_id, attempt = found
            yield from self._of_attempt(listed, call_id, attempt)

    def _of_attempt(
        self, listed: ListedCall, call_id: str, attempt: AuditedAttempt
    ) -> Iterator[Violation]:
        new, known = listed.retell_call_id, attempt.retell_call_id
        if known is None and attempt.status in UNSETTLED | LIVE:
            # Its answer is under way, or lost and to be looked up.
            known = self._awaited.setdefault(attempt.id, new)
        if known == new:
            return
        if known is None:
            told = f"{new} is a call of attempt {attempt.id}, which is {attempt.status}"
            yield Violation("unknown_dial", call_id, attempt.number, f"{told} without one")
        else:
            told = f"attempt {attempt.id} has two calls: {known} and {new}"
            yield Violation("attempt_dialed_twice", call_id, attempt.number, told)

"""What an audit found."""

from collections import Counter
from dataclasses import dataclass, field

#: Violations listed a rule; beyond them they are only counted, for an audit's memory is bounded.
LISTED = 1_000


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise. `attempt`: its number within the call; `detail` names every other id."""

    rule: str
    call_id: str | None
    attempt: int | None
    detail: str


@dataclass(slots=True)
class Report:
    """All that was found. `checked`: how many of what.

    `waiting`: calls not ended, by what they wait for.
    `waiting_rows`: rows that the warehouse is still to be given, by its tables.
    `provisional`: attempts concluded without Retell's word, which may yet amend them.
    """

    checked: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)
    waiting_rows: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    provisional: int = 0

    @property
    def ok(self) -> bool:
        """No rule is broken, and nothing that was asked for was left unchecked."""
        return not self.counts

    def add(self, violation: Violation) -> None:
        """Count it, and list it while there is room."""
        self.counts[violation.rule] += 1
        if self.counts[violation.rule] <= LISTED:
            self.violations.append(violation)

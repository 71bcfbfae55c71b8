"""When an attempt of unknown fate is looked up at the platform, and when it is given up.

While it may be submitted again (five sixths of the idempotency window) it is looked up ever more
rarely, and at the moment that ends. From then on it is given up once two look-ups, a sixth of the
window apart, found nothing. Times in ms.
"""

from dataclasses import dataclass

#: The first look-up comes after this long; from there it doubles.
FIRST_MS = 2_000


@dataclass(frozen=True, slots=True)
class LookUps:
    """`submit_ms`: how long after the first submission another one is allowed."""

    submit_ms: int

    @property
    def apart_ms(self) -> int:
        """A sixth of the window: the longest pause, and what two empty look-ups lie apart."""
        return self.submit_ms // 5

    def pause(self, doubts: int, first_submitted_at: int, now: int) -> int:
        """How long after the doubt with this number (from 1) it is looked up."""
        grown = min(FIRST_MS, self.apart_ms) * 2 ** min(max(doubts, 1) - 1, 20)
        pause = min(self.apart_ms, grown)
        left = first_submitted_at + self.submit_ms - now
        return left if 0 < left < pause else pause

    def gives_up(self, absent_at: int | None, now: int) -> bool:
        """Whether an empty look-up ending now is the last; `absent_at`: when the first one did."""
        return absent_at is not None and now - absent_at >= self.apart_ms

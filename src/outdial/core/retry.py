"""How long to wait before trying again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with full jitter; `base` and `ceiling` in seconds.

    Full jitter spreads those that failed together over the whole span, which asks least of a
    dependency that is just recovering (Brooker, "Exponential Backoff And Jitter", AWS, 2015).
    """

    base: float = 1.0
    ceiling: float = 300.0

    def delay(self, failures: int, draw: float) -> float:
        """Seconds after that many `failures` in a row (from 1); `draw` is random in [0, 1)."""
        # 2**62 is over any ceiling, and still a float.
        return draw * min(self.ceiling, self.base * 2.0 ** min(max(failures, 1) - 1, 62))

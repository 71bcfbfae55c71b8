"""The workspace's limits: calls at once, and calls started a second."""


class Limits:
    """Counts running calls and fills a bucket of one second; 0 lifts a limit."""

    def __init__(self, rate: float, concurrency: int) -> None:
        """`rate` in calls a second, `concurrency` in calls."""
        self.rate = rate
        self.concurrency = concurrency
        self.running: set[str] = set()
        """Ids of the calls that ring or talk now."""
        # Half a call of slack: who starts one call a second must not be refused for jitter.
        self._size = max(rate, 1.0) + 0.5
        self._left = self._size
        self._filled_at = 0.0

    def refusal(self, now_s: float) -> str | None:
        """Why a call may not start now, as a message; None takes a place in the rate.

        `now_s` is a monotonic time in seconds.
        """
        running = len(self.running)
        if self.concurrency and running >= self.concurrency:
            return f"Concurrency limit reached: {running} of {self.concurrency} calls"
        if not self.rate:
            return None
        if self._filled_at:
            grown = self._left + (now_s - self._filled_at) * self.rate
            self._left = min(self._size, grown)
        self._filled_at = now_s
        if self._left < 1:
            return f"Rate limit reached: {self.rate:g} calls a second"
        self._left -= 1
        return None

    def report(self) -> dict[str, object]:
        """The body of `GET /get-concurrency`."""
        limit = self.concurrency or 1_000_000
        return {
            "current_concurrency": len(self.running),
            "concurrency_limit": limit,
            "base_concurrency": min(limit, 20),
            "purchased_concurrency": max(limit - 20, 0),
            "concurrency_purchase_limit": max(limit - 20, 0),
            "remaining_purchase_limit": 0,
            "concurrency_burst_enabled": False,
            "concurrency_burst_limit": 0,
            "reserved_inbound_concurrency": 0,
        }

"""A receiver of activity events that can't be relied on, as receivers are."""

import random

from systemtest.receiver import Receiver


class MoodySink(Receiver):
    """Refuses some events, and takes some and says that it did not."""

    def __init__(self, seed: int, share: float = 0.03) -> None:
        """`share`: of the deliveries, for either."""
        self._chance = random.Random(seed)  # noqa: S311 - which to refuse, and repeatable
        self._share = share
        super().__init__()

    def take(self, body: bytes) -> bool:
        """Keep one event, or refuse it, or both."""
        mood = self._chance.random()
        if mood < self._share:
            return False
        return super().take(body) and mood >= 2 * self._share

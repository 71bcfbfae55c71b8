"""Whether the sink as a whole is down: then one delivery at a time asks it, not all of them."""

from collections.abc import Callable

from outdial.core.retry import Backoff


class Circuit:
    """Opens when the deliveries of several calls have failed in a row, closes at the first answer.

    Calls are counted, not failures: one event that its receiver can't stomach says nothing about
    the events of other calls.
    """

    def __init__(
        self,
        threshold: int,
        probing: Backoff,
        *,
        monotonic: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        """`threshold`: calls that fail in a row. `draw`: random in [0, 1)."""
        self._threshold = threshold
        self._probing = probing
        self._monotonic = monotonic
        self._draw = draw
        self._failed: set[str] = set()
        self._probes = 0
        self._probe_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the sink counts as down."""
        return len(self._failed) >= self._threshold

    def room(self, free: int, under_way: int) -> int:
        """How many deliveries may be begun: all that are free, or while open one in its time."""
        if not self.is_open:
            return free
        return 1 if under_way == 0 and self._monotonic() >= self._probe_at else 0

    def answered(self) -> None:
        """The sink took an event, or refused just this one: it is there."""
        self._failed.clear()
        self._probes = 0
        self._probe_at = 0.0

    def failed(self, call_id: str) -> None:
        """The sink gave no answer, or none on the event, to a delivery of that call."""
        if not self.is_open:
            self._failed.add(call_id)
        # Those under way when it opened are no probes, and put none off.
        if self.is_open and self._monotonic() >= self._probe_at:
            self._probes += 1
            self._probe_at = self._monotonic() + self._probing.delay(self._probes, self._draw())

"""The simulator's time: the wall clock, and how much of it a told duration takes."""

import time


def wall_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Clock:
    """Shortens ringing, talking and analysis by `speed`; all else runs on the wall clock."""

    def __init__(self, speed: float) -> None:
        """`speed` 60 lets an hour of talk pass in a minute."""
        if not speed > 0:
            raise ValueError(f"the speed must be over 0, not {speed}")
        self.speed = speed

    def wall(self, told_ms: int) -> int:
        """How long a told duration takes on the wall, in ms."""
        return round(told_ms / self.speed)

    def told(self, wall_ms: int) -> int:
        """The duration told for a span of the wall, in ms."""
        return round(wall_ms * self.speed)

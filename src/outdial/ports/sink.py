"""Where activity (ABT) events are delivered."""

from typing import Protocol


class ActivitySink(Protocol):
    """Takes one CloudEvent, structured JSON, at least once."""

    async def deliver(self, event_id: str, event: bytes) -> None:
        """Return once the receiver took it (any 2xx).

        Raises `Unavailable` for anything that may pass or holds for every event (time-out, 5xx,
        429, refused connection, a wrong address or credentials: 401, 403, 404 …) and `Poison`
        where the receiver refuses this very event (another 4xx); the relay decides how long it
        goes on trying.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...

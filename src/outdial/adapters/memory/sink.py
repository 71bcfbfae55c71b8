"""An activity sink in memory, for tests."""

from collections.abc import Awaitable, Callable


async def _take(event_id: str, event: bytes) -> None:
    """Take everything at once."""


class MemorySink:
    """Keeps what it took in `taken`, in its order, repetitions included."""

    def __init__(self, receive: Callable[[str, bytes], Awaitable[None]] = _take) -> None:
        """`receive` stands for the receiver: it may wait, and raise what the port may raise."""
        self.receive = receive
        self.taken: list[tuple[str, bytes]] = []

    async def deliver(self, event_id: str, event: bytes) -> None:
        """See the port."""
        await self.receive(event_id, event)
        self.taken.append((event_id, event))

    async def close(self) -> None:
        """See the port."""

"""Where payloads lie that are too large for the queue: a folder, or S3."""

from typing import Protocol


class Parking(Protocol):
    """A store of blobs by key. Every method raises `Unavailable` when it does not answer."""

    async def put(self, key: str, data: bytes) -> None:
        """Store durably, replacing what is there. `key`: `[a-z0-9/_.-]+`."""
        ...

    async def get(self, key: str) -> bytes | None:
        """The blob, or None where there is none (any more)."""
        ...

    async def delete(self, key: str) -> None:
        """Remove it; no error where there is none."""
        ...

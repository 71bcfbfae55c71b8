"""Where payloads lie that are too large for the queue: a folder, or S3."""

import re
from typing import Protocol

_KEY = re.compile(r"[a-z0-9/_.-]{1,200}")


def check_key(key: str) -> str:
    """`key` itself; raises `ValueError` where it is none."""
    if _KEY.fullmatch(key) is None:
        raise ValueError(f"{key!r} is no key: 1 to 200 of a-z, 0-9, '/', '_', '.', '-'")
    return key


class Parking(Protocol):
    """A store of blobs by key.

    Every method raises `Unavailable` when it does not answer, `ValueError` for what is no key.
    """

    async def put(self, key: str, data: bytes) -> None:
        """Store durably, replacing what is there. `key`: `[a-z0-9/_.-]{1,200}`."""
        ...

    async def get(self, key: str) -> bytes | None:
        """The blob, or None where there is none (any more)."""
        ...

    async def delete(self, key: str) -> None:
        """Remove it; no error where there is none."""
        ...

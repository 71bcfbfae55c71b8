"""Parked payloads in a dictionary."""

from outdial.ports.parking import check_key


class MemoryParking:
    """Forgets everything with the process."""

    def __init__(self) -> None:
        """Starts empty."""
        self._blobs: dict[str, bytes] = {}

    async def put(self, key: str, data: bytes) -> None:
        """See the port."""
        self.put_sync(key, data)

    def put_sync(self, key: str, data: bytes) -> None:
        """`put` for code that is not asynchronous."""
        self._blobs[check_key(key)] = data

    async def get(self, key: str) -> bytes | None:
        """See the port."""
        return self._blobs.get(check_key(key))

    async def delete(self, key: str) -> None:
        """See the port."""
        self._blobs.pop(check_key(key), None)

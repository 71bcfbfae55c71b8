"""Parked payloads in a folder, one file each."""

import asyncio
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from outdial.errors import Unavailable
from outdial.ports.parking import check_key


class FolderParking:
    """May be shared by processes: a file is there wholly or not at all.

    The folder is flat: no key can lead out of it, and no key stands in another one's way.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is made, with its parents, by the first `put`."""
        self._folder = folder

    async def put(self, key: str, data: bytes) -> None:
        """See the port. On the disk when it returns."""
        await asyncio.to_thread(self.put_sync, key, data)

    async def get(self, key: str) -> bytes | None:
        """See the port."""
        return await asyncio.to_thread(self._read, self._path(key))

    async def delete(self, key: str) -> None:
        """See the port."""
        await asyncio.to_thread(self._remove, self._path(key))

    def put_sync(self, key: str, data: bytes) -> None:
        """`put` for code that is not asynchronous."""
        path = self._path(key)
        try:
            if not self._folder.is_dir():
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _sync(self._folder.parent)
            handle, draft = tempfile.mkstemp(suffix=".draft", dir=self._folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(draft).replace(path)
            finally:
                with suppress(FileNotFoundError):
                    Path(draft).unlink()
            _sync(self._folder)
        except OSError as error:
            raise self._unavailable(error) from error

    def _path(self, key: str) -> Path:
        return self._folder / (check_key(key).replace("/", "~") + ".parked")

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unavailable(error) from error

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: OSError) -> Unavailable:
        return Unavailable(
            "parking folder",
            f"{self._folder}: {error.strerror}; it must be a writable folder with free space",
        )


def _sync(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

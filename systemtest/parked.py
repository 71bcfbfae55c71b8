"""Where payloads too large for a queue lie, whatever the stack: listed, taken away, put back."""

from pathlib import Path
from typing import Any, Protocol


class Parked(Protocol):
    """One installation's parked payloads."""

    def names(self) -> list[str]:
        """All that is parked."""
        ...

    def take(self, name: str) -> bytes:
        """Remove one; what it was."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Put it back."""
        ...


class ParkedFiles:
    """In a folder, which need not be there yet."""

    def __init__(self, folder: Path) -> None:
        """Other files in it don't count."""
        self._folder = folder

    def names(self) -> list[str]:
        """See `Parked`."""
        return [file.name for file in self._folder.glob("*.parked")]

    def take(self, name: str) -> bytes:
        """See `Parked`."""
        data = (self._folder / name).read_bytes()
        (self._folder / name).unlink()
        return data

    def put(self, name: str, data: bytes) -> None:
        """See `Parked`."""
        (self._folder / name).write_bytes(data)


class ParkedObjects:
    """In a bucket of S3."""

    def __init__(self, s3: Any, bucket: str) -> None:  # noqa: ANN401 - botocore has no types
        """`s3`: a client of botocore."""
        self._s3 = s3
        self._bucket = bucket

    def names(self) -> list[str]:
        """See `Parked`."""
        listed = self._s3.list_objects_v2(Bucket=self._bucket)
        return [each["Key"] for each in listed.get("Contents", [])]

    def take(self, name: str) -> bytes:
        """See `Parked`."""
        data: bytes = self._s3.get_object(Bucket=self._bucket, Key=name)["Body"].read()
        self._s3.delete_object(Bucket=self._bucket, Key=name)
        return data

    def put(self, name: str, data: bytes) -> None:
        """See `Parked`."""
        self._s3.put_object(Bucket=self._bucket, Key=name, Body=data)

"""What every store of parked payloads promises, and what the folder promises besides."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outdial.adapters.aws.addresses import bucket_address
from outdial.adapters.aws.parking import S3Parking
from outdial.adapters.folder_parking import FolderParking
from outdial.adapters.memory import MemoryParking
from outdial.errors import Unavailable
from outdial.ports.parking import Parking
from tests.aws_emulator import emulator

keys = st.from_regex(r"[a-z0-9/_.-]{1,200}", fullmatch=True)


@pytest.fixture(params=["memory", "folder", "s3"])
async def parking(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Parking]:
    """Each adapter in turn."""
    if request.param == "memory":
        yield MemoryParking()
    elif request.param == "folder":
        yield FolderParking(tmp_path / "parked")
    else:
        aws = emulator()
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        address = bucket_address(f"s3://{aws.bucket()}/some/prefix")
        assert address is not None
        parked = S3Parking(address)
        yield parked
        await parked.close()


async def test_gives_back_what_was_put(parking: Parking) -> None:
    """A blob comes back byte for byte."""
    data = bytes(range(256)) * 5000
    await parking.put("events/2026-11-22/abc.json.gz", data)
    assert await parking.get("events/2026-11-22/abc.json.gz") == data


async def test_gives_none_for_what_is_not_there(parking: Parking) -> None:
    """A key that was never put has no blob."""
    assert await parking.get("nothing") is None


async def test_replaces_what_is_there(parking: Parking) -> None:
    """A second put under a key wins."""
    await parking.put("a", b"first")
    await parking.put("a", b"second")
    assert await parking.get("a") == b"second"


async def test_deletes(parking: Parking) -> None:
    """A deleted blob is gone; deleting it again is no error."""
    await parking.put("a", b"x")
    await parking.delete("a")
    await parking.delete("a")
    assert await parking.get("a") is None


async def test_keeps_keys_apart_that_look_like_folders(parking: Parking) -> None:
    """A key may be the beginning of another one's path, or nothing but dots."""
    for key in ("a", "a/b", "a/b/", "/a", "..", ".", "a/../b"):
        await parking.put(key, key.encode())
    for key in ("a", "a/b", "a/b/", "/a", "..", ".", "a/../b"):
        assert await parking.get(key) == key.encode()


@pytest.mark.parametrize("key", ["", "A", "a b", "a\\b", "a\n", "a~b", "é", "x" * 201, "a\0"])
async def test_refuses_what_is_no_key(parking: Parking, key: str) -> None:
    """A key of other characters, or too long, is the caller's error."""
    with pytest.raises(ValueError, match="is no key"):
        await parking.put(key, b"")
    with pytest.raises(ValueError, match="is no key"):
        await parking.get(key)
    with pytest.raises(ValueError, match="is no key"):
        await parking.delete(key)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(key=keys, data=st.binary(max_size=100))
def test_never_leaves_its_folder(tmp_path: Path, key: str, data: bytes) -> None:
    """Whatever the key, the folder holds its blobs directly, and nothing lies outside."""
    folder = tmp_path / "parked"
    parking = FolderParking(folder)
    parking.put_sync(key, data)
    assert asyncio.run(parking.get(key)) == data
    assert [each.name for each in tmp_path.iterdir()] == ["parked"]
    assert all(each.is_file() and each.suffix == ".parked" for each in folder.iterdir())
    asyncio.run(parking.delete(key))
    assert list(folder.iterdir()) == []


async def test_leaves_nothing_half_written(tmp_path: Path) -> None:
    """Two writers of one key at once leave one of the two blobs, whole, and no draft."""
    one, other = FolderParking(tmp_path), FolderParking(tmp_path)
    blobs = [bytes([number]) * 300_000 for number in range(8)]
    await asyncio.gather(
        *((one if index % 2 else other).put("a", blob) for index, blob in enumerate(blobs))
    )
    assert await one.get("a") in blobs
    assert os.listdir(tmp_path) == ["a.parked"]  # noqa: PTH208 - pathlib's would be blocking too


async def test_tells_when_the_folder_can_not_be_used(tmp_path: Path) -> None:
    """A file where the folder should be is told in one line that names it."""
    (tmp_path / "file").write_text("in the way")
    parking = FolderParking(tmp_path / "file")
    for attempt in (parking.put("a", b""), parking.get("a"), parking.delete("a")):
        with pytest.raises(Unavailable, match=r"parking folder unavailable: .*file: .*writable"):
            await attempt


async def test_memory_takes_a_put_from_any_code() -> None:
    """Code that is not asynchronous may put as well."""
    parking = MemoryParking()
    parking.put_sync("a", b"x")
    assert await parking.get("a") == b"x"

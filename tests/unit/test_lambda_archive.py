"""The Lambda's archive: reproducible, small, and of nothing but what the handler needs."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy import build_lambda
from outdial.adapters.aws import addresses


@pytest.fixture(scope="module")
def archive() -> bytes:
    """What `make lambda` writes."""
    return build_lambda.build()


def test_the_same_bytes_twice(archive: bytes) -> None:
    """Built again, it is the same to the byte."""
    assert build_lambda.build() == archive


def test_it_is_small(archive: bytes) -> None:
    """Under 200 kB: it has to be fetched before a cold start."""
    assert len(archive) < 200_000


def test_it_holds_what_the_handler_imports_and_nothing_else(archive: bytes, tmp_path: Path) -> None:
    """Alone with the standard library it answers, and every module in it is loaded by then."""
    zipfile.ZipFile(io.BytesIO(archive)).extractall(tmp_path)
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import os\n"
        "os.environ |= {'OUTDIAL_RETELL_WEBHOOK_KEY': 'key', 'AWS_REGION': 'eu-west-1',\n"
        "  'OUTDIAL_EVENT_QUEUE_URL': 'https://sqs.eu-west-1.amazonaws.com/123456789012/events',\n"
        "  'OUTDIAL_PARKED_URL': 's3://bucket/prefix'}\n"
        "from outdial.webhook_lambda import handler\n"
        "assert handler({'headers': {}, 'body': ''})['statusCode'] == 401\n"
        "print(*sorted(m.__file__ for n, m in sys.modules.items()\n"
        "  if n.partition('.')[0] == 'outdial'), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-ISc", script], capture_output=True, text=True, check=True
    )
    held = [str(tmp_path / name) for name in zipfile.ZipFile(io.BytesIO(archive)).namelist()]
    assert done.stdout.splitlines() == sorted(held)


def test_the_handler_is_where_it_says(archive: bytes) -> None:
    """The name to give to Lambda is that of a function in the archive."""
    module, _, function = build_lambda.HANDLER.rpartition(".")
    source = zipfile.ZipFile(io.BytesIO(archive)).read(f"{module.replace('.', '/')}.py")
    assert f"def {function}(".encode() in source


def test_make_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the file that it is given, folders included."""
    target = tmp_path / "dist" / "lambda.zip"
    monkeypatch.setattr(sys, "argv", ["build_lambda.py", str(target)])
    build_lambda.main()
    assert zipfile.is_zipfile(target)


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/calls", "eu-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/calls", "cn-north-1"),
        ("https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/calls", "us-gov-west-1"),
        ("https://sqs.us-east-2.api.aws/123456789012/calls", "us-east-2"),
        ("https://vpce-1-2.sqs.us-east-1.vpce.amazonaws.com/123456789012/calls", "us-east-1"),
        ("http://127.0.0.1:4566/000000000000/calls", None),
        ("https://sqs.eu-west-1.amazonaws.com.example/123456789012/calls", None),
    ],
)
def test_a_queues_url_tells_its_region(url: str, region: str | None) -> None:
    """Where AWS's own host does; elsewhere the environment tells it."""
    address = addresses.queue_address(url)
    assert address is not None
    assert (address.region, address.name) == (region, "calls")
    assert address.sibling("dead").endswith("/dead")


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///queue.db?queue=calls",
        "https://sqs.eu-west-1.amazonaws.com/calls",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/calls.fifo",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/calls?x=1",
        "arn:aws:sqs:eu-west-1:123456789012:calls",
    ],
)
def test_what_is_no_queues_url(url: str) -> None:
    """FIFO queues and ARNs included."""
    assert addresses.queue_address(url) is None


def test_a_buckets_address() -> None:
    """A prefix is a folder; segments that a path would lose are kept apart."""
    plain, deep = addresses.bucket_address("s3://bucket"), addresses.bucket_address("s3://b-1/a/b/")
    assert plain is not None
    assert deep is not None
    assert plain.key("events/x.json") == "events/x.json"
    assert deep.key("/x/../.") == "a/b/~0/x/~2/~1"
    for url in ("s3://", "s3://Bucket", "s3://b/x?y", "https://bucket/x", "/folder"):
        assert addresses.bucket_address(url) is None

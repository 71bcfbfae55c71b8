"""What the address of a queue or a bucket says, and what an object is called."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

_QUEUE_PATH = re.compile(r"/(\d{12})/([A-Za-z0-9_-]{1,80})")
#: Regional, FIPS, dual-stack and VPC endpoints; AWS's own, as far as a URL tells.
_AWS_HOST = re.compile(
    r"(?:^|\.)sqs(?:-fips)?\.([a-z0-9-]+)\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)$"
)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class QueueAddress:
    """An SQS queue. `region` is None where the host tells none (an emulator, a proxy)."""

    url: str
    origin: str
    region: str | None
    name: str

    def sibling(self, name: str) -> str:
        """The URL of another queue of the same account and region."""
        return f"{self.url.rpartition('/')[0]}/{name}"


def queue_address(url: str) -> QueueAddress | None:
    """None where it is no URL of an SQS standard queue: `https://HOST/ACCOUNT/NAME`."""
    split = urlsplit(url)
    path = _QUEUE_PATH.fullmatch(split.path)
    if split.scheme not in {"http", "https"} or path is None or split.query or split.fragment:
        return None
    host = _AWS_HOST.search(split.hostname or "")
    origin = f"{split.scheme}://{split.netloc}"
    return QueueAddress(url, origin, host[1] if host else None, path[2])


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """Where in S3 objects lie. `prefix` is empty or ends with a slash."""

    bucket: str
    prefix: str

    def key(self, key: str) -> str:
        """What the object of a parking key is called.

        Segments that a path would lose on its way (`.`, `..`, none) are written as `~` and their
        length: no parking key has a tilde.
        """
        parts = (f"~{len(part)}" if part in {"", ".", ".."} else part for part in key.split("/"))
        return self.prefix + "/".join(parts)


def bucket_address(url: str) -> BucketAddress | None:
    """None where it is not of the form `s3://BUCKET/PREFIX`."""
    split = urlsplit(url)
    if split.scheme != "s3" or _BUCKET.fullmatch(split.netloc) is None:
        return None
    if split.query or split.fragment:
        return None
    prefix = split.path.strip("/")
    return BucketAddress(split.netloc, f"{prefix}/" if prefix else "")


def region_of(environment: Mapping[str, str]) -> str | None:
    """The region of the environment: Lambda and ECS set the one name, botocore reads the other."""
    return environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or None

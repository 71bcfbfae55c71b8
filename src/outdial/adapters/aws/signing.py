"""AWS Signature Version 4 for one request, by the standard library.

The algorithm is AWS's "Create a signed AWS API request"; the tests hold it against botocore's.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """An access key; `token` where it is a session's, as a role's always is."""

    key_id: str
    secret: str
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What is signed. `path` is as it goes over the wire, quoted; there is no query.

    `host` has its port where it is not the scheme's own. Names of `headers` are in lower case.
    """

    method: str
    host: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def object_path(key: str) -> str:
    """An S3 key as a path, without the slash in front."""
    return quote(key, safe="/-_.~")


def signed_headers(
    request: Request, service: str, region: str, credentials: Credentials, now_ms: int
) -> dict[str, str]:
    """All headers of the request, the signature among them; `now_ms` since the epoch."""
    moment = datetime.fromtimestamp(now_ms // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(request.body).hexdigest()
    headers = {**request.headers, "host": request.host, "x-amz-date": moment}
    if service == "s3":
        headers["x-amz-content-sha256"] = digest
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    names = sorted(headers)
    signed = ";".join(names)
    canonical = "\n".join(
        [
            request.method,
            request.path,
            "",
            *(f"{name}:{' '.join(headers[name].split())}" for name in names),
            "",
            signed,
            digest,
        ]
    )
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashed}"
    key = _signing_key(credentials.secret, moment[:8], region, service)
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.key_id}/{scope}, "
        f"SignedHeaders={signed}, Signature={signature}"
    )
    return headers


@lru_cache(maxsize=8)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key

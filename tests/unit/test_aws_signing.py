"""Our signature against botocore's, on many inputs."""

from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from outdial.adapters.aws.signing import Credentials, Request, object_path, signed_headers

printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
moments = st.integers(0, 4_000_000_000_000)
credentials = st.builds(Credentials, printable, printable, st.none() | printable)
#: Headers that botocore leaves out, for proxies change them, are none that we send.
header_names = st.from_regex(r"x-[a-z0-9-]{1,20}", fullmatch=True).filter(
    lambda name: name != "x-amzn-trace-id"
)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).filter(
    lambda value: value == value.strip()
)


def by_botocore(
    request: Request, service: str, region: str, given: Credentials, now_ms: int
) -> dict[str, Any]:
    """The headers that botocore would send."""
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    auth = signer(BotocoreCredentials(given.key_id, given.secret, given.token), service, region)
    url = f"https://{request.host}{request.path}"
    theirs = AWSRequest(request.method, url, dict(request.headers), request.body)
    with pytest.MonkeyPatch.context() as patch:
        from datetime import UTC, datetime  # noqa: PLC0415

        moment = datetime.fromtimestamp(now_ms // 1000, UTC).replace(tzinfo=None)
        patch.setattr("botocore.auth.get_current_datetime", lambda: moment)
        theirs.context["payload_signing_enabled"] = True
        theirs.context["client_config"] = None
        auth.add_auth(theirs)
    return {name.lower(): value for name, value in theirs.headers.items()}


@given(
    headers=st.dictionaries(header_names, header_values, max_size=4),
    body=st.binary(max_size=200),
    region=st.from_regex(r"[a-z]{2}-[a-z]{4,9}-[1-9]", fullmatch=True),
    given=credentials,
    now_ms=moments,
)
def test_signs_a_queue_request_as_botocore_does(
    headers: dict[str, str], body: bytes, region: str, given: Credentials, now_ms: int
) -> None:
    """Whatever headers, body, credentials and moment: the same signature over the same."""
    request = Request("POST", f"sqs.{region}.amazonaws.com", "/", headers, body)
    ours = signed_headers(request, "sqs", region, given, now_ms)
    theirs = by_botocore(request, "sqs", region, given, now_ms)
    assert ours["authorization"] == theirs["authorization"]
    assert ours["x-amz-date"] == theirs["x-amz-date"]


@given(
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    body=st.binary(max_size=200),
    given=credentials,
    now_ms=moments,
)
def test_signs_an_object_as_botocore_does(
    key: str, body: bytes, given: Credentials, now_ms: int
) -> None:
    """Whatever a key is made of, S3's way of quoting included."""
    path = f"/{object_path(key)}"
    request = Request("PUT", "bucket.s3.eu-west-1.amazonaws.com", path, {}, body)
    ours = signed_headers(request, "s3", "eu-west-1", given, now_ms)
    theirs = by_botocore(request, "s3", "eu-west-1", given, now_ms)
    assert ours["authorization"] == theirs["authorization"]
    assert ours["x-amz-content-sha256"] == theirs["x-amz-content-sha256"]


def test_a_port_is_signed() -> None:
    """An emulator's host has a port, which is part of what is signed."""
    given = Credentials("key", "secret", "token")
    request = Request("POST", "127.0.0.1:4566", "/", {"x-amz-target": "A.B"}, b"{}")
    ours = signed_headers(request, "sqs", "us-east-1", given, 1_800_000_000_000)
    theirs = by_botocore(request, "sqs", "us-east-1", given, 1_800_000_000_000)
    assert ours["authorization"] == theirs["authorization"]


def test_credentials_are_not_shown() -> None:
    """A traceback or a log shows no secret."""
    assert "secret" not in repr(Credentials("key", "a-secret"))

"""Retell's webhook signature: `x-retell-signature: v=<unix ms>,d=<64 lowercase hex>`.

The digest is HMAC-SHA256(API key, raw body + v); a signature is fresh while |now - v| is at most
five minutes. The same as `retell.lib.webhook_auth` of retell-sdk 6.2.13, over bytes.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from enum import StrEnum

HEADER = "x-retell-signature"
TOLERANCE_MS = 300_000

# fullmatch with Unicode digits, as the SDK reads it: both must agree on every header.
_FORM = re.compile(r"v=(\d+),d=([0-9a-f]{64})")


class Verdict(StrEnum):
    """What a check found; only `GOOD` lets an event in."""

    GOOD = "good"
    MISSING = "missing"
    MALFORMED = "malformed"
    STALE = "stale"
    BAD = "bad"


def sign(key: str, body: bytes, at_ms: int) -> str:
    """The value of the header for these raw bytes, signed at `at_ms` (epoch milliseconds)."""
    return f"v={at_ms},d={_digest(key, body, at_ms)}"


def verify(
    header: str | None,
    body: bytes,
    keys: Iterable[str],
    now_ms: int,
    tolerance_ms: int = TOLERANCE_MS,
) -> Verdict:
    """Judge the header against the raw bytes, with several keys while one is rotated.

    Never raises: what cannot be read is `MALFORMED`. An empty key opens nothing. Age is judged
    before the digest, and every key is tried, in constant time.
    """
    if header is None or header == "":
        return Verdict.MISSING
    match = _FORM.fullmatch(header)
    if match is None:
        return Verdict.MALFORMED
    try:
        signed_ms = int(match[1])
    except ValueError:  # more digits than Python turns into a number
        return Verdict.MALFORMED
    if abs(now_ms - signed_ms) > tolerance_ms:
        return Verdict.STALE
    good = False
    for key in keys:
        fits = hmac.compare_digest(_digest(key, body, signed_ms), match[2])
        good |= fits and key != ""
    return Verdict.GOOD if good else Verdict.BAD


def _digest(key: str, body: bytes, at_ms: int) -> str:
    secret = key.encode("utf-8", "surrogatepass")
    return hmac.new(secret, body + str(at_ms).encode(), hashlib.sha256).hexdigest()

"""Signature headers of Standard Webhooks 1.0 (symmetric, `v1`).

Source: the specification's section "Signature scheme", and its published test vector.
"""

import base64
import binascii
import hashlib
import hmac

from outdial.errors import ConfigurationError

PREFIX = "whsec_"


class Signer:
    """Signs with one secret: `whsec_` and base64 of the key, or a plain text that is the key."""

    def __init__(self, secret: str) -> None:
        """Raises `ConfigurationError`, without the secret, where it holds no key."""
        self._key = _key(secret)

    def headers(self, message_id: str, at_s: int, body: bytes) -> dict[str, str]:
        """The three headers; `at_s`: seconds since the epoch, `body`: the bytes that are sent."""
        content = b".".join((message_id.encode(), str(at_s).encode(), body))
        digest = hmac.new(self._key, content, hashlib.sha256).digest()
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": f"v1,{base64.b64encode(digest).decode('ascii')}",
        }


def _key(secret: str) -> bytes:
    try:
        encoded = secret.startswith(PREFIX)
        key = base64.b64decode(secret[len(PREFIX) :], validate=True) if encoded else secret.encode()
    except (binascii.Error, ValueError):
        msg = "OUTDIAL_ACTIVITY_SINK_SECRET starts with whsec_, but what follows is no base64"
        raise ConfigurationError(msg) from None
    if not key:
        msg = "OUTDIAL_ACTIVITY_SINK_SECRET is empty"
        raise ConfigurationError(msg)
    return key

"""Who looks at the pages: a signed cookie instead of the API key.

A key is typed once (or comes with the link that `outdial up` prints) and is exchanged for a
cookie that holds only the key's hash, an end, and a signature of ours. The key itself stays out
of URLs, logs and cookies; revoking it ends the session. The hash alone opens nothing.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import orjson
from starlette.requests import Request

from outdial.http_common.auth import Authentication, Caller, secret_hash
from outdial.http_common.problems import Problem, ProblemError
from outdial.ports.keys import Keys, Scope

COOKIE = "outdial_session"
#: Seconds that a session lasts, and a link that logs in.
SESSION_SECONDS = 7 * 86_400
LINK_SECONDS = 12 * 3_600

Purpose = Literal["session", "link"]


class Tokens:
    """Signs and reads tokens. All processes that serve the pages share the secret."""

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        """`clock` in seconds since the epoch."""
        self._secret = secret
        self._clock = clock

    @classmethod
    def of_home(cls, home: Path) -> "Tokens":
        """With the secret kept in the home folder, made at the first use."""
        path = home / "session.secret"
        home.mkdir(parents=True, exist_ok=True)
        made = home / f"session.secret.{os.getpid()}.{secrets.token_hex(4)}"
        made.touch(mode=0o600)
        made.write_bytes(secrets.token_bytes(32))
        try:
            # Linked whole or not at all: another process must never read half a secret.
            os.link(made, path)
        except FileExistsError:
            pass
        finally:
            made.unlink()
        return cls(path.read_bytes())

    def sign(self, purpose: Purpose, key_hash: str, seconds: int) -> str:
        """A token for the key with this hash."""
        body = orjson.dumps([purpose, key_hash, int(self._clock()) + seconds])
        return f"{_encode(body)}.{_encode(self._mac(body))}"

    def read(self, purpose: Purpose, token: str) -> str | None:
        """The key's hash; None where the token is not ours, for something else, or over."""
        try:
            body, mac = (_decode(part) for part in token.split("."))
        except ValueError:
            return None
        if not hmac.compare_digest(mac, self._mac(body)):
            return None
        what, key_hash, until = orjson.loads(body)
        if what != purpose or until <= self._clock():
            return None
        return str(key_hash)

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._secret, body, hashlib.sha256)


def login_path(home: Path, key: str) -> str:
    """`/login?token=…`: opens the pages without typing the key; good for half a day."""
    token = Tokens.of_home(home).sign("link", secret_hash(key), LINK_SECONDS)
    return f"/login?token={token}"


class BrowserAuthentication:
    """By the session cookie where there is no Authorization header, else as `inner` says.

    Only for requests that change nothing: a cookie also comes with what other sites start.
    """

    def __init__(self, inner: Authentication, keys: Keys, tokens: Tokens) -> None:
        """`inner` authenticates programs."""
        self._inner = inner
        self._keys = keys
        self._tokens = tokens

    async def caller(self, request: Request, scope: Scope) -> Caller:
        """See `Authentication`."""
        cookie = request.cookies.get(COOKIE)
        if cookie is None or "authorization" in request.headers or request.method != "GET":
            return await self._inner.caller(request, scope)
        key_hash = self._tokens.read("session", cookie)
        caller = None if key_hash is None else await self.of_key(key_hash)
        if caller is None:
            raise ProblemError(Problem(401, "this session is over; log in again"))
        if not caller.may(scope):
            raise ProblemError(Problem(403, f"this API key lacks the scope {scope.value}"))
        return caller

    async def of_key(self, key_hash: str) -> Caller | None:
        """Whose key this is; None where it is unknown or revoked."""
        record = await self._keys.find(key_hash)
        if record is None or record.revoked_at is not None:
            return None
        return Caller(record.tenant, record.scopes)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(
            text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True
        )
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(str(error)) from None

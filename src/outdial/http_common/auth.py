"""Who asks: API keys as bearer tokens, with scopes, each belonging to one tenant.

A key is looked up by the SHA-256 of its secret. That look-up needs no constant time: what its
timing could tell is where a hash differs from stored ones, and from a hash of 256 random bits
nobody works back to a secret.
"""

import hashlib
import ipaddress
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import urlsplit

import uuid_utils
from starlette.requests import Request

from outdial.errors import ConfigurationError
from outdial.http_common.problems import Problem, ProblemError
from outdial.ports.keys import KeyRecord, Keys, Scope

#: Seconds that a key is remembered: within them a revocation takes effect.
REMEMBER_SECONDS = 5.0
#: Seconds that an unknown key is remembered, so that guessing costs us no query a guess.
UNKNOWN_SECONDS = 1.0
#: Keys remembered at once.
_MOST_REMEMBERED = 4096

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is, and what it may do."""

    tenant: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """`admin` includes every scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


class Authentication(Protocol):
    """Tells who asks."""

    async def caller(self, request: Request, scope: Scope) -> Caller:
        """The caller; raises the 401 or, without `scope`, the 403 as `ProblemError`."""
        ...


class KeyAuthentication:
    """By API key, remembered for a few seconds so that a key costs no query a request."""

    def __init__(self, keys: Keys, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` in seconds."""
        self._keys = keys
        self._clock = clock
        self._remembered: dict[str, tuple[float, Caller | None]] = {}

    async def caller(self, request: Request, scope: Scope) -> Caller:
        """See `Authentication`."""
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise _unauthorized("send an API key: Authorization: Bearer KEY")
        caller = await self._find(secret_hash(secret))
        if caller is None:
            raise _unauthorized("this API key is unknown or revoked")
        if not caller.may(scope):
            raise ProblemError(Problem(403, f"this API key lacks the scope {scope.value}"))
        return caller

    async def _find(self, hashed: str) -> Caller | None:
        now = self._clock()
        until, caller = self._remembered.get(hashed, (0.0, None))
        if now < until:
            return caller
        record = await self._keys.find(hashed)
        live = record is not None and record.revoked_at is None
        caller = Caller(record.tenant, record.scopes) if record is not None and live else None
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        seconds = REMEMBER_SECONDS if caller is not None else UNKNOWN_SECONDS
        self._remembered[hashed] = (now + seconds, caller)
        return caller


class OpenAuthentication:
    """Without keys: everybody on this machine is tenant `default` with every scope.

    A web page from elsewhere, open in a browser on this machine, is not: its requests carry a
    foreign `Origin`, or, where its name was pointed here, a foreign `Host`.
    """

    async def caller(self, request: Request, scope: Scope) -> Caller:  # noqa: ARG002
        """See `Authentication`."""
        origin = request.headers.get("origin")
        names = [_host_of(f"//{request.headers.get('host', '')}")]
        if origin is not None:
            names.append(_host_of(origin))
        if not all(name is not None and is_loopback(name) for name in names):
            raise ProblemError(Problem(403, "without keys, only this machine may ask"))
        return Caller("default", frozenset(Scope))


def authentication(kind: Literal["keys", "none"], host: str, keys: Keys) -> Authentication:
    """The authentication in force; refuses `none` unless `host`, bound to, is loopback."""
    if kind == "keys":
        return KeyAuthentication(keys)
    if not is_loopback(host):
        msg = f"OUTDIAL_AUTH=none is refused on {host}; bind to 127.0.0.1, or use keys"
        raise ConfigurationError(msg)
    return OpenAuthentication()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def secret_hash(secret: str) -> str:
    """What is stored of a key: SHA-256, in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key; `secret` is shown this once only."""

    record: KeyRecord
    secret: str


async def issue_key(keys: Keys, tenant: str, scopes: Sequence[Scope]) -> IssuedKey:
    """Make and store a key. Raises `ConfigurationError` for a tenant that is no name."""
    if _TENANT.fullmatch(tenant) is None:
        msg = f"tenant {tenant!r} is no name: 1 to 64 letters, digits, '.', '_' and '-'"
        raise ConfigurationError(msg)
    secret = f"od_{secrets.token_urlsafe(32)}"
    key_id = str(uuid_utils.uuid7())
    return IssuedKey(await keys.create(key_id, secret_hash(secret), tenant, scopes), secret)


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _unauthorized(detail: str) -> ProblemError:
    return ProblemError(Problem(401, detail, headers={"WWW-Authenticate": "Bearer"}))

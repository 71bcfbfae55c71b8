"""API keys: who may ask, for which tenant, and for what."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Scope(StrEnum):
    """What a key may do; `admin` includes the others and crosses no tenant by itself."""

    CALLS_WRITE = "calls:write"
    CALLS_READ = "calls:read"
    ANALYTICS_READ = "analytics:read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key without its secret. Times in ms."""

    id: str
    tenant: str
    scopes: frozenset[Scope]
    created_at: int
    revoked_at: int | None


class Keys(Protocol):
    """Keys by the SHA-256 of their secret; the secret itself is stored nowhere."""

    async def create(
        self, key_id: str, secret_sha256: str, tenant: str, scopes: Sequence[Scope]
    ) -> KeyRecord:
        """Store a new key."""
        ...

    async def find(self, secret_sha256: str) -> KeyRecord | None:
        """The key with this hash, also when it is revoked."""
        ...

    async def all(self) -> list[KeyRecord]:
        """All keys, oldest first."""
        ...

    async def revoke(self, key_id: str) -> bool:
        """Whether there is such a key; revoking again is no error."""
        ...

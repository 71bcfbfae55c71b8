"""API keys: `ports.keys.Keys` over the ledger's tables."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from outdial.adapters.database.engine import Clock, Database
from outdial.adapters.database.tables import api_keys
from outdial.ports.keys import KeyRecord, Scope


class LedgerKeys:
    """See `ports.keys.Keys`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Both shared with the rest of the ledger."""
        self._database = database
        self._clock = clock

    async def create(
        self, key_id: str, secret_sha256: str, tenant: str, scopes: Sequence[Scope]
    ) -> KeyRecord:
        """See the port."""

        def work(connection: Connection) -> KeyRecord:
            now = self._clock.now(connection)
            row = {
                "id": key_id,
                "secret_sha256": secret_sha256,
                "tenant": tenant,
                "scopes": " ".join(sorted(scopes)),
                "created_at": now,
            }
            connection.execute(insert(api_keys), row)
            return KeyRecord(key_id, tenant, frozenset(scopes), now, None)

        return await self._database.transact(work)

    async def find(self, secret_sha256: str) -> KeyRecord | None:
        """See the port."""
        query = select(api_keys).where(api_keys.c.secret_sha256 == secret_sha256)

        def look(connection: Connection) -> KeyRecord | None:
            row = connection.execute(query).one_or_none()
            return None if row is None else _record(row)

        return await self._database.read(look)

    async def all(self) -> list[KeyRecord]:
        """See the port."""
        query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        return await self._database.read(lambda c: [_record(row) for row in c.execute(query)])

    async def revoke(self, key_id: str) -> bool:
        """See the port."""

        def work(connection: Connection) -> bool:
            now = self._clock.now(connection)
            revoked = connection.execute(
                update(api_keys)
                .where(api_keys.c.id == key_id)
                .values(revoked_at=func.coalesce(api_keys.c.revoked_at, now))
            )
            return revoked.rowcount > 0

        return await self._database.transact(work)


def _record(row: Row[Any]) -> KeyRecord:
    scopes = frozenset(Scope(name) for name in row.scopes.split())
    return KeyRecord(row.id, row.tenant, scopes, row.created_at, row.revoked_at)

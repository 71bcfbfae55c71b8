"""The analytics API on a real DuckDB warehouse behind a real socket, with keys of two tenants."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from outdial.adapters.duckdb import DuckDBWarehouse
from outdial.dashboard.notice import Status
from outdial.http_common.auth import KeyAuthentication, issue_key
from outdial.http_common.listening import listen
from outdial.http_common.serving import serving
from outdial.ports.keys import KeyRecord, Scope
from outdial.web_api import create_app
from tests.warehouse_rows import Rows, realistic

NOW = 1_790_000_000_000
DAY = 86_400_000


class FakeKeys:
    """Keys in memory."""

    def __init__(self) -> None:
        """None at first."""
        self.records: dict[str, KeyRecord] = {}

    async def create(
        self, key_id: str, secret_sha256: str, tenant: str, scopes: Sequence[Scope]
    ) -> KeyRecord:
        """Store it."""
        record = KeyRecord(key_id, tenant, frozenset(scopes), 0, None)
        self.records[secret_sha256] = record
        return record

    async def find(self, secret_sha256: str) -> KeyRecord | None:
        """By hash."""
        return self.records.get(secret_sha256)

    async def all(self) -> list[KeyRecord]:
        """In the order they were made."""
        return list(self.records.values())

    async def revoke(self, key_id: str) -> bool:
        """Mark it as revoked."""
        for hashed, record in self.records.items():
            if record.id == key_id:
                self.records[hashed] = replace(record, revoked_at=1)
                return True
        return False


@dataclass
class Service:
    """What a test talks to. `rows`: those of tenant `default`; `other` has its own."""

    url: str
    home: Path
    warehouse: DuckDBWarehouse
    keys: FakeKeys
    rows: Rows
    key: str
    other_key: str
    writer_key: str
    admin_key: str
    client: httpx.AsyncClient

    async def get(
        self, path: str, *, key: str | None = None, accept: str = "application/json"
    ) -> httpx.Response:
        """Ask below `/v1/analytics`, as tenant `default` by default."""
        headers = {"Authorization": f"Bearer {key or self.key}", "Accept": accept}
        return await self.client.get(f"{self.url}/v1/analytics{path}", headers=headers)


@contextlib.asynccontextmanager
async def running(
    home: Path, *, calls: int = 300, status: Status | None = None
) -> AsyncIterator[Service]:
    """A service with `calls` calls of one tenant over six days, and 40 of another.

    `status`: how dialing stands.
    """
    warehouse = DuckDBWarehouse(home / "warehouse.duckdb")
    await warehouse.upgrade()
    rows = realistic(calls, until=NOW, span_ms=6 * DAY) if calls else Rows()
    theirs = realistic(40, until=NOW, span_ms=DAY, seed=7, tenant="other")
    await warehouse.load(rows.calls, rows.attempts, rows.activity, NOW)
    await warehouse.load(theirs.calls, theirs.attempts, theirs.activity, NOW)
    keys = FakeKeys()

    async def key(tenant: str, scope: Scope) -> str:
        return (await issue_key(keys, tenant, [scope])).secret

    app = create_app(warehouse, KeyAuthentication(keys), keys=keys, home=home, status=status)
    async with serving(app, listen("127.0.0.1", 0)) as url, httpx.AsyncClient() as client:
        yield Service(
            url,
            home,
            warehouse,
            keys,
            rows,
            await key("default", Scope.ANALYTICS_READ),
            await key("other", Scope.ANALYTICS_READ),
            await key("default", Scope.CALLS_WRITE),
            await key("other", Scope.ADMIN),
            client,
        )
    await warehouse.close()

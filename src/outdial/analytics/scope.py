"""The only way to the warehouse's rows: as one tenant.

No other module names the warehouse's tables. Questions are asked of `own_calls`, `own_attempts`
and `own_activity`, which hold the tenant's rows and nothing else, so that a question cannot
forget whose it is; a test reads the sources for it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from outdial.ports.warehouse import Warehouse

#: `moment`: when it counts; `local_moment`: that, on the clock of the time zone asked for.
_OWN = """WITH own_calls AS (
  SELECT *, created_at AS moment,
    make_timestamp(created_at * 1000) AT TIME ZONE 'UTC' AT TIME ZONE ? AS local_moment
  FROM calls WHERE tenant = ?
), own_attempts AS (
  SELECT *, COALESCE(submitted_at, accepted_at) AS moment,
    make_timestamp(COALESCE(submitted_at, accepted_at) * 1000)
      AT TIME ZONE 'UTC' AT TIME ZONE ? AS local_moment
  FROM call_attempts WHERE tenant = ?
), own_activity AS (
  SELECT * FROM activity_events WHERE tenant = ?
)
"""

Rows = list[tuple[Any, ...]]


class OwnRows:
    """The rows of one tenant."""

    def __init__(self, warehouse: Warehouse, tenant: str) -> None:
        """`tenant` bounds everything that is asked through this object."""
        self._warehouse = warehouse
        self._tenant = tenant

    async def ask(self, select: str, parameters: Sequence[Any] = (), tz: str = "UTC") -> Rows:
        """Run a SELECT over the own relations."""
        _, rows = await self._warehouse.query(_OWN + select, self._bound(parameters, tz))
        return rows

    async def export(self, select: str, parameters: Sequence[Any], tz: str, path: Path) -> None:
        """Write a SELECT over the own relations to a Parquet file."""
        await self._warehouse.export_parquet(_OWN + select, self._bound(parameters, tz), path)

    async def as_of(self) -> int | None:
        """How fresh the rows are: the ledger's clock, in ms; None before the first load."""
        return await self._warehouse.as_of()

    def _bound(self, parameters: Sequence[Any], tz: str) -> list[Any]:
        return [tz, self._tenant, tz, self._tenant, self._tenant, *parameters]

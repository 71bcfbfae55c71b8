"""How the news of calls came: by webhook, or because somebody asked."""

from collections.abc import Mapping

from sqlalchemy import Connection, func, select

from outdial.adapters.database.engine import Database
from outdial.adapters.database.tables import provider_events


class LedgerArrivals:
    """Reads the inbox."""

    def __init__(self, database: Database) -> None:
        """Each method reads one snapshot."""
        self._database = database

    async def by_source(self, since: int) -> Mapping[str, int]:
        """Provider events of our calls that came since (in ms), by source: `webhook`, `asked`."""
        query = (
            select(provider_events.c.source, func.count())
            .where(provider_events.c.received_at >= since, provider_events.c.call_id.is_not(None))
            .group_by(provider_events.c.source)
        )

        def look(connection: Connection) -> Mapping[str, int]:
            return {row[0]: row[1] for row in connection.execute(query)}

        return await self._database.read(look)

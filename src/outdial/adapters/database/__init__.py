"""The ledger: calls, attempts, the inbox and the outboxes, on SQLite or PostgreSQL."""

from dataclasses import dataclass

from outdial.adapters.database.activity_outbox import LedgerActivityOutbox
from outdial.adapters.database.arrivals import LedgerArrivals
from outdial.adapters.database.dialing import DialingRules, LedgerDialing
from outdial.adapters.database.due_calls import LedgerDueCalls
from outdial.adapters.database.engine import Clock, Database, open_database
from outdial.adapters.database.history import LedgerHistory
from outdial.adapters.database.inbox import LedgerInbox
from outdial.adapters.database.intake import LedgerIntake
from outdial.adapters.database.keys import LedgerKeys
from outdial.adapters.database.reconciliation import LedgerReconciliation
from outdial.adapters.database.schema import pending, upgrade
from outdial.adapters.database.warehouse_outbox import LedgerWarehouseOutbox
from outdial.adapters.database.workspace import Limits

__all__ = ["Clock", "Database", "DialingRules", "Ledger", "Limits", "open_database"]


@dataclass(frozen=True, slots=True)
class Ledger:
    """One database and what the stages ask of it, a port each."""

    database: Database
    clock: Clock
    intake: LedgerIntake
    keys: LedgerKeys
    dialing: LedgerDialing
    inbox: LedgerInbox
    due_calls: LedgerDueCalls
    activity: LedgerActivityOutbox
    warehouse: LedgerWarehouseOutbox
    history: LedgerHistory
    arrivals: LedgerArrivals
    reconciliation: LedgerReconciliation

    @classmethod
    def open(
        cls,
        url: str,
        rules: DialingRules,
        *,
        republish_ms: int = 600_000,
        reconcile_ms: int = 900_000,
    ) -> "Ledger":
        """Open by URL; connects at the first use. Raises `ConfigurationError` for a bad URL."""
        database = open_database(url)
        clock = Clock()
        return cls(
            database=database,
            clock=clock,
            intake=LedgerIntake(database, clock),
            keys=LedgerKeys(database, clock),
            dialing=LedgerDialing(database, clock, rules),
            inbox=LedgerInbox(database, clock),
            due_calls=LedgerDueCalls(database, clock, republish_ms),
            activity=LedgerActivityOutbox(database, clock),
            warehouse=LedgerWarehouseOutbox(database),
            history=LedgerHistory(database, clock),
            arrivals=LedgerArrivals(database),
            reconciliation=LedgerReconciliation(database, clock, reconcile_ms),
        )

    async def upgrade(self) -> list[str]:
        """Run pending migrations; their names."""
        return await upgrade(self.database)

    async def pending_migrations(self) -> list[str]:
        """What `upgrade` would run."""
        return await pending(self.database)

    async def close(self) -> None:
        """Release the database."""
        await self.database.close()

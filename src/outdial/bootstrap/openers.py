"""Parts for commands that work on them directly, opened and closed around their use."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from outdial.bootstrap.parts import Parts
from outdial.config import Settings
from outdial.errors import ConfigurationError
from outdial.ports.queue import Queue
from outdial.ports.warehouse import Warehouse

if TYPE_CHECKING:
    from outdial.adapters.database import Ledger
    from outdial.reconciler import Reconciler


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """All of them, each made when it is first wanted."""
    parts = Parts(settings)
    try:
        yield parts
    finally:
        await parts.close()


@asynccontextmanager
async def open_ledger(settings: Settings) -> AsyncIterator["Ledger"]:
    """The ledger at the schema of this version; `ConfigurationError` where migrations wait."""
    async with open_parts(settings) as parts:
        await require_schema(parts)
        yield parts.ledger


@asynccontextmanager
async def open_reconciler(settings: Settings) -> AsyncIterator["Reconciler"]:
    """What compares the ledger with Retell, for a single run."""
    async with open_parts(settings) as parts:
        await require_schema(parts)
        yield parts.reconciler


@asynccontextmanager
async def open_queue(settings: Settings, name: Literal["calls", "events"]) -> AsyncIterator[Queue]:
    """One of the two queues."""
    async with open_parts(settings) as parts:
        yield parts.call_queue if name == "calls" else parts.event_queue


@asynccontextmanager
async def open_warehouse(settings: Settings) -> AsyncIterator[Warehouse]:
    """The warehouse itself: only where no other process has it open."""
    async with open_parts(settings) as parts:
        yield parts.warehouse


async def upgrade_database(settings: Settings) -> list[str]:
    """Run pending migrations; their names, oldest first."""
    async with open_parts(settings) as parts:
        return await parts.ledger.upgrade()


async def require_schema(parts: Parts) -> None:
    """Refuse to work on a database of another version."""
    waiting = await parts.ledger.pending_migrations()
    if waiting:
        raise ConfigurationError(
            f"the database {parts.ledger.database.url} lacks migration {', '.join(waiting)}; "
            "run `outdial db upgrade`"
        )

"""What `outdial audit` asks: the parts of this configuration, or the processes that have them."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from outdial import bootstrap, config
from outdial.analytics.digests import WarehouseDigests
from outdial.audit import Auditor, Report, Sources, Times
from outdial.bootstrap.openers import require_schema
from outdial.bootstrap.parts import Parts
from outdial.cli import progress
from outdial.cli.output import counted
from outdial.cli.simulated import with_simulator
from outdial.cli.warehouse import answering, owner
from outdial.config import Settings
from outdial.errors import ConfigurationError, OutdialError, Unavailable
from outdial.ports.audit import WarehouseAudit, WarehouseRow
from outdial.ports.platform import VoicePlatform

#: Calls asked for by id in one request.
_IDS = 1_000


async def run_audit(without: Collection[str]) -> Report:
    """Audit what is configured; `without`: sources that are not to be asked."""
    settings = with_simulator(config.load())
    async with bootstrap.open_parts(settings) as parts:
        await require_schema(parts)
        warehouse = None if "warehouse" in without else _warehouse(parts)
        provider = None if "provider" in without else _provider(parts)
        with progress.shown("Auditing", 1.0) as shown:

            def told(done: int, total: int) -> None:
                shown.at(done / max(1, total), f"{done:,} of {counted(total, 'row')}")

            sources = Sources(parts.audit, warehouse, provider)
            return await Auditor(sources, _times(settings), progress=told).run()


def _times(settings: Settings) -> Times:
    return Times(
        republish=int(settings.republish_after * 1000),
        reconcile=int(settings.reconcile_after * 1000),
        analysis=int(settings.analysis_after * 1000),
    )


def _provider(parts: Parts) -> VoicePlatform | OutdialError:
    try:
        return parts.platform
    except ConfigurationError as error:
        return OutdialError(f"{error}; or `up` must run, whose simulator is asked then")


def _warehouse(parts: Parts) -> WarehouseAudit | OutdialError:
    try:
        url = owner(parts.settings)
        if url is not None:
            return DigestsOverHttp(parts.settings, url)
        if _not_made_yet(parts.settings):
            return EmptyWarehouse()
        return WarehouseDigests(parts.warehouse)
    except ConfigurationError as error:
        return error


def _not_made_yet(settings: Settings) -> bool:
    scheme, _, path = settings.warehouse.partition(":///")
    return scheme == "duckdb" and not Path(path).exists()


class EmptyWarehouse:
    """One that nothing was ever loaded into, so that there is no file to open."""

    async def between(self, _after: str, _last: str | None) -> Sequence[WarehouseRow]:
        """None."""
        return []

    async def of_calls(self, _call_ids: Collection[str]) -> Sequence[WarehouseRow]:
        """None."""
        return []


class DigestsOverHttp:
    """The warehouse of the process that has its file open."""

    def __init__(self, settings: Settings, url: str) -> None:
        """`url` of its web API."""
        self._settings = settings
        self._url = f"{url}/v1/warehouse/digests"

    async def between(self, after: str, last: str | None) -> Sequence[WarehouseRow]:
        """See `ports.audit.WarehouseAudit`."""
        return await self._ask({"after": after, "last": last})

    async def of_calls(self, call_ids: Collection[str]) -> Sequence[WarehouseRow]:
        """See `ports.audit.WarehouseAudit`."""
        ids = list(call_ids)
        portions = [ids[start : start + _IDS] for start in range(0, len(ids), _IDS)]
        return [row for part in portions for row in await self._ask({"call_ids": part})]

    async def _ask(self, question: Mapping[str, Any]) -> list[WarehouseRow]:
        try:
            async with answering(self._settings, "POST", self._url, question) as response:
                told = await response.json(content_type=None)
                return [WarehouseRow(*row) for row in told["rows"]]
        except Unavailable:
            raise
        except OutdialError as error:
            raise Unavailable("warehouse", str(error)) from None
        except (ValueError, KeyError, TypeError):
            raise Unavailable("warehouse", f"{self._url} gave no digests") from None

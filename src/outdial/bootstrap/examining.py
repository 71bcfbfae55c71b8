"""`outdial doctor --warehouse`: what the stand-in of the tests can't show, asked of the account."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from outdial.bootstrap.openers import open_parts
from outdial.bootstrap.parts import Parts
from outdial.config import Settings
from outdial.errors import ConfigurationError, OutdialError

if TYPE_CHECKING:
    from outdial.adapters.snowflake import Finding


async def examine_warehouse(settings: Settings) -> AsyncIterator["Finding"]:
    """Every finding as it comes. Raises `ConfigurationError` where there is no Snowflake."""
    async with open_parts(settings) as parts:
        if not parts.warehouse_is_shared:
            raise ConfigurationError(
                "OUTDIAL_WAREHOUSE_URL is not a snowflake:// URL; DuckDB is looked at by "
                "`outdial doctor` without --warehouse"
            )
        async for finding in parts.snowflake.examine():
            yield finding
            if finding.name == "sign in" and finding.state == "fault":
                return
        yield await _answers(parts)


async def _answers(parts: Parts) -> "Finding":
    """Made-up rows in temporary tables, the real statements, and DuckDB's answers beside them."""
    from outdial.adapters.duckdb import DuckDBWarehouse  # noqa: PLC0415
    from outdial.adapters.snowflake import Finding  # noqa: PLC0415
    from outdial.analytics.rehearsal import QUESTIONS, rehearse  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="outdial-doctor-") as folder:
        duck = DuckDBWarehouse(Path(folder) / "warehouse.duckdb")
        try:
            await duck.upgrade()
            async with parts.snowflake.rehearsal() as rehearsed:
                found = [told async for told in rehearse(rehearsed, duck)]
        except OutdialError as error:
            return Finding("answers", "fault", str(error))
        finally:
            await duck.close()
    if found:
        told = f"{len(found)} differences from DuckDB, the first: {found[0]}"
        return Finding("answers", "fault", told, "report it with this line: figures may be wrong")
    return Finding("answers", "ok", f"{len(QUESTIONS)} questions, each as DuckDB answers it")

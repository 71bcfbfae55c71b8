"""Every statement that Snowflake is sent, as text: `python -m tests.snowflake.golden` prints it.

`golden.sql` holds the last one that somebody looked through: a new `sqlglot`, or another wording of
a metric, shows there as a difference to read before it is sent to a warehouse nobody can test on.
"""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from outdial.adapters.duckdb import DuckDBWarehouse
from outdial.adapters.snowflake.dialect import snowflake_sql
from outdial.adapters.snowflake.schema import MIGRATIONS
from outdial.adapters.snowflake.tables import TABLES, set_freshness
from outdial.analytics import scope
from outdial.analytics.metrics import METRICS, Grain
from outdial.analytics.questions import Filters
from outdial.analytics.records import export
from outdial.analytics.rehearsal import rehearse
from tests.warehouse_rows import call_row

FILE = Path(__file__).with_name("golden.sql")
_ROWS = [call_row(call_id="first"), call_row(call_id="l'ast")]


class Recording(DuckDBWarehouse):
    """Notes what it is asked, each question once."""

    def __init__(self, path: Path) -> None:
        """Nothing yet."""
        super().__init__(path)
        self.asked: dict[str, None] = {}

    async def query(
        self, sql: str, parameters: Sequence[Any] = ()
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """As ever, and noted."""
        self.asked[sql] = None
        return await super().query(sql, parameters)


def golden() -> str:
    """The whole file."""
    own = snowflake_sql(scope._OWN + "SELECT 1").removesuffix("SELECT 1")
    parts = [
        ("Migrations", [text for each in MIGRATIONS for text in each.statements]),
        ("A load", [text for table in TABLES for text in _load(table)] + [set_freshness(1)]),
        ("Before every question about a tenant's rows", [own]),
        ("Metrics, one by one", [snowflake_sql(f"SELECT {m.sql}") for m in METRICS.values()]),
        ("Exports", [snowflake_sql(export(grain, Filters())[0]) for grain in Grain]),
        (
            "Questions",
            [snowflake_sql(sql).removeprefix(own) for sql in asyncio.run(_questions())],
        ),
    ]
    lines = [f"-- {title}\n" + "".join(f"{text};\n" for text in texts) for title, texts in parts]
    return "\n".join(lines)


def _load(table: Any) -> list[str]:
    return [table.create_staged(), table.copy("FOLDER"), table.merge(_ROWS)]


async def _questions() -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        pair = [Recording(Path(folder) / name) for name in ("a", "b")]
        for each in pair:
            await each.upgrade()
        assert [told async for told in rehearse(pair[0], pair[1], 12)] == []
        for each in pair:
            await each.close()
    return [sql for sql in pair[0].asked if not sql.startswith("SELECT *")]


if __name__ == "__main__":
    sys.stdout.write(golden())

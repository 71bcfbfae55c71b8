"""Digests of the warehouse's rows: the same as of the rows themselves, and for administrators."""

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from outdial.adapters.duckdb import DuckDBWarehouse
from outdial.analytics.digests import WarehouseDigests
from outdial.core.digest import row_digest
from outdial.ports.warehouse import ATTEMPT_COLUMNS
from tests.flow import web_api_service
from tests.warehouse_rows import attempt_row

#: What columns may hold, by name.
NASTY: list[dict[str, Any]] = [
    {},
    {"cost_usd": 0.0, "latency_p50_ms": -0.0},
    {"cost_usd": 0.1 + 0.2, "latency_p50_ms": -1234.5678915},
    {"cost_usd": 1e300, "latency_p50_ms": -1e12},
    {"cost_usd": 999_999_999_999.0, "latency_p50_ms": 1e-9},
    {"cost_usd": 3},
    {"duration_ms": 2**53, "ended_at": 0},
    {"call_successful": True, "in_voicemail": False},
    {"transcript": "Zoë: \u202eé\n\t\"quoted\" 'too' \\N 😀", "call_summary": ""},
    {"metadata": '{"a":[1,2.5,"ü"]}', "custom_analysis_data": "{}"},
]


@pytest_asyncio.fixture
async def warehouse(tmp_path: Path) -> AsyncIterator[DuckDBWarehouse]:
    """An empty one."""
    opened = DuckDBWarehouse(tmp_path / "warehouse.duckdb")
    await opened.upgrade()
    yield opened
    await opened.close()


async def test_both_sides_agree(warehouse: DuckDBWarehouse) -> None:
    """On every kind of value; rows that differ in one have digests of their own."""
    rows = [attempt_row(call_id="c", attempt_id=str(i), **more) for i, more in enumerate(NASTY)]
    await warehouse.load([], rows, [], None)
    found = {row.id: row.digest for row in await WarehouseDigests(warehouse).of_calls(["c"])}
    assert found == {row["attempt_id"]: row_digest(ATTEMPT_COLUMNS, row) for row in rows}
    alike = [row_digest(ATTEMPT_COLUMNS, row | {"attempt_id": ""}) for row in rows]
    assert len(set(alike)) == len(rows)


async def test_null_is_not_empty(warehouse: DuckDBWarehouse) -> None:
    """Nor is a value in the next column the same."""
    del warehouse
    columns = {"a": "text", "b": "text"}
    rows: list[dict[str, Any]] = [
        {"a": None, "b": "x"},
        {"a": "", "b": "x"},
        {"a": "x", "b": None},
        {"a": "x", "b": ""},
    ]
    assert len({row_digest(columns, row) for row in rows}) == 4
    assert row_digest({"a": "float"}, {"a": math.pi}) != row_digest({"a": "float"}, {"a": 3})


async def test_no_calls_have_no_rows(warehouse: DuckDBWarehouse) -> None:
    """Nothing is asked then."""
    assert await WarehouseDigests(warehouse).of_calls([]) == []


async def test_digests_over_http(tmp_path: Path) -> None:
    """All tenants' rows, to an administrator of any; and no row of it tells more than ids."""
    async with web_api_service.running(tmp_path, calls=20) as service:
        url = f"{service.url}/v1/warehouse/digests"

        async def ask(body: Any, key: str) -> Any:
            headers = {"Authorization": f"Bearer {key}"}
            return await service.client.post(url, headers=headers, json=body)

        everything = {"after": "", "last": None}
        assert (await ask(everything, service.key)).status_code == 403
        rows = (await ask(everything, service.admin_key)).json()["rows"]
        direct = await WarehouseDigests(service.warehouse).between("", None)
        assert sorted(rows) == sorted(
            [row.kind, row.call_id, row.id, row.version, row.digest] for row in direct
        )
        assert {len(row[4]) for row in rows} == {32}
        one = rows[0][1]
        some = (await ask({"call_ids": [one]}, service.admin_key)).json()["rows"]
        assert {row[1] for row in some} == {one}
        upto = (await ask({"after": "", "last": one}, service.admin_key)).json()["rows"]
        assert {row[1] for row in upto} == {row[1] for row in rows if row[1] <= one}
        wrongs: list[Any] = [{}, [], {"after": 1, "last": None}, {"call_ids": [1]}, {"after": ""}]
        for wrong in wrongs:
            answer = await ask(wrong, service.admin_key)
            assert answer.status_code == 400
            assert "call_ids" in answer.json()["detail"]

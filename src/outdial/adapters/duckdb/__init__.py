"""The warehouse in a DuckDB file."""

from outdial.adapters.duckdb.warehouse import DuckDBWarehouse

__all__ = ["DuckDBWarehouse"]

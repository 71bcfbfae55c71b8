"""The warehouse in Snowflake: staged as Parquet, merged by one statement a table."""

from outdial.adapters.snowflake.address import Address
from outdial.adapters.snowflake.examination import Finding
from outdial.adapters.snowflake.warehouse import SnowflakeWarehouse

__all__ = ["Address", "Finding", "SnowflakeWarehouse"]

"""Rows as Parquet files, columns as the warehouse's tables have them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from outdial.errors import Unavailable
from outdial.ports.warehouse import Row

_ARROW = {
    "text": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "json": pa.string(),
}
#: What Snowflake calls the types of an answer's columns, by the connector's codes; a whole number
#: is `FIXED` without a scale.
_FIXED, _REAL, _TIMESTAMP, _BOOLEAN = 0, 1, 8, 13


def write(path: Path, columns: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Write rows to a file. Raises `Unavailable` where a value is not of its column's kind."""
    try:
        arrays = {
            name: pa.array([_cell(kind, row.get(name)) for row in rows], _ARROW[kind])
            for name, kind in columns.items()
        }
    except pa.ArrowException as error:
        detail = " ".join(str(error).split())[:300]
        raise Unavailable("warehouse", f"a row can't be stored: {detail}") from None
    pq.write_table(pa.table(arrays), path, compression="snappy")


class Export:
    """A Parquet file written bit by bit from an answer; columns as its description says."""

    def __init__(self, path: Path, description: Sequence[Any]) -> None:
        """`description`: of the connector's cursor."""
        self._schema = pa.schema([(each.name.lower(), _type(each)) for each in description])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Append rows."""
        arrays = [
            pa.array([row[index] for row in rows], field.type)
            for index, field in enumerate(self._schema)
        ]
        self._writer.write_table(pa.table(arrays, schema=self._schema))


def _type(column: Any) -> pa.DataType:  # noqa: ANN401 - the connectors name this type differently
    match column.type_code:
        case code if code == _FIXED and not column.scale:
            return pa.int64()
        case code if code in {_FIXED, _REAL}:
            return pa.float64()
        case code if code == _TIMESTAMP:
            return pa.timestamp("us")
        case code if code == _BOOLEAN:
            return pa.bool_()
        case _:
            return pa.string()


def _cell(kind: str, value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    """JSON is stored as its text, whether it comes as text or decoded."""
    if kind != "json" or value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()

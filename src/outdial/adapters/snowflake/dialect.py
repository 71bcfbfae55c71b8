"""Questions are written in DuckDB's SQL; here they become Snowflake's.

Each text is translated once (3 ms) and remembered. What `sqlglot` leaves wrong or vague for
Snowflake is mended on the tree: checked against Snowflake's reference, and kept by the golden file
`tests/snowflake/golden.sql`.
"""

from functools import lru_cache

import sqlglot
from sqlglot import exp

from outdial.errors import Unavailable

#: Parts of `strftime` patterns that the questions use. Letters that stand for themselves are
#: quoted: Snowflake takes bare ones for parts of its own.
_PATTERN = {
    "%Y": "YYYY",
    "%m": "MM",
    "%d": "DD",
    "%H": "HH24",
    "%M": "MI",
    "T": '"T"',
}


@lru_cache(maxsize=2048)
def snowflake_sql(duckdb_sql: str) -> str:
    """The same question in Snowflake's SQL; `?` stay in their order. Raises `Unavailable`."""
    try:
        tree = sqlglot.parse_one(duckdb_sql, read="duckdb").transform(_mended)
        return tree.sql(dialect="snowflake", unsupported_level=sqlglot.ErrorLevel.RAISE)
    except sqlglot.errors.SqlglotError as error:
        detail = str(error).strip().splitlines()[0]
        raise Unavailable("warehouse", f"no Snowflake SQL for this question: {detail}") from None


def _mended(node: exp.Expr) -> exp.Expr:
    match node:
        case exp.AtTimeZone(this=exp.AtTimeZone(this=moment) as utc):
            # With two time zones CONVERT_TIMEZONE gives a time without one, whatever the session's.
            return exp.ConvertTimezone(
                source_tz=utc.args["zone"],
                target_tz=node.args["zone"],
                timestamp=moment.transform(_mended),
            )
        case exp.Extract(this=exp.Expr(name=name)) if name.upper() == "ISODOW":
            return exp.Extract(this=exp.var("DAYOFWEEKISO"), expression=node.expression)
        case exp.TimeToStr():
            # TO_CHAR has patterns for numbers too: the cast says which are meant.
            moment = exp.cast(node.this, exp.DType.TIMESTAMPNTZ)
            return exp.Anonymous(this="TO_CHAR", expressions=[moment, _pattern(node)])
        case exp.UnixToTime(this=number, args=args):
            # Plain TO_TIMESTAMP gives what a parameter of the account says.
            return exp.Anonymous(this="TO_TIMESTAMP_NTZ", expressions=[number, args["scale"]])
        case _:
            return node


def _pattern(node: exp.TimeToStr) -> exp.Expr:
    pattern = node.args["format"].name
    for ours, theirs in _PATTERN.items():
        pattern = pattern.replace(ours, theirs)
    return exp.Literal.string(pattern)

"""What Snowflake is sent: the golden file, and the places where the two dialects differ."""

import pytest

from outdial.adapters.snowflake.dialect import snowflake_sql
from outdial.errors import Unavailable
from tests.snowflake.golden import FILE, golden


def test_every_statement_is_as_somebody_has_read_it() -> None:
    """`python -m tests.snowflake.golden` writes the file; its difference is to be read."""
    assert golden() == FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("duckdb", "snowflake"),
    [
        (
            "SELECT epoch_ms(x) AT TIME ZONE 'UTC' AT TIME ZONE ?",
            "SELECT CONVERT_TIMEZONE('UTC', ?, TO_TIMESTAMP_NTZ(x, 3))",
        ),
        ("SELECT EXTRACT(isodow FROM x)", "SELECT DATE_PART(DAYOFWEEKISO, x)"),
        (
            "SELECT strftime(x, '%Y-%m-%dT%H:%M')",
            "SELECT TO_CHAR(CAST(x AS TIMESTAMPNTZ), 'YYYY-MM-DD\"T\"HH24:MI')",
        ),
        ("SELECT a FROM b ORDER BY a DESC", "SELECT a FROM b ORDER BY a DESC NULLS LAST"),
        ("SELECT GREATEST(a, b)", "SELECT GREATEST_IGNORE_NULLS(a, b)"),
    ],
)
def test_the_dialects_differ_here(duckdb: str, snowflake: str) -> None:
    """Each of these would be an error in Snowflake, or mean something else."""
    assert snowflake_sql(duckdb) == snowflake


def test_parameters_keep_their_order() -> None:
    """They are bound by position."""
    text = snowflake_sql("SELECT ? AS a, x AT TIME ZONE 'UTC' AT TIME ZONE ? FROM t WHERE y = ?")
    assert text == "SELECT ? AS a, CONVERT_TIMEZONE('UTC', ?, x) FROM t WHERE y = ?"


def test_what_can_not_be_translated_is_no_error_of_the_translator() -> None:
    """A fault of ours is told as the warehouse's, in one line."""
    with pytest.raises(Unavailable, match="no Snowflake SQL") as caught:
        snowflake_sql("SELECT (((")
    assert "\n" not in str(caught.value)

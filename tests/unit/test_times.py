"""Facts about `core.times`."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outdial.core.times import parse_rfc3339, to_rfc3339

FIRST_MS = -62_135_596_800_000
LAST_MS = 253_402_300_799_999


def test_a_time_is_written_in_utc_with_milliseconds() -> None:
    """The text always has three digits after the point and a Z."""
    assert to_rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert to_rfc3339(1_795_363_200_007) == "2026-11-22T16:00:00.007Z"


@given(st.integers(FIRST_MS, LAST_MS))
def test_reading_undoes_writing(at_ms: int) -> None:
    """Every time of the years 1 to 9999 survives the way there and back."""
    assert parse_rfc3339(to_rfc3339(at_ms)) == at_ms


@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - the zone comes next
    st.integers(-23 * 60, 23 * 60),
)
def test_it_agrees_with_the_standard_library(naive: datetime, offset_minutes: int) -> None:
    """What the standard library writes with an offset is read as the same time."""
    at = naive.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    since_epoch = at - datetime(1970, 1, 1, tzinfo=UTC)
    assert parse_rfc3339(at.isoformat()) == since_epoch // timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01t00:00:01z", 1000),
        ("1970-01-01 00:00:01+00:00", 1000),
        ("1970-01-01T00:00:00.5Z", 500),
        ("1970-01-01T00:00:00.1239999Z", 123),
        ("1970-01-01T01:30:00+01:30", 0),
        ("1969-12-31T16:00:00-08:00", 0),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_every_form_of_rfc_3339_is_read(text: str, at_ms: int) -> None:
    """Case, fraction and offset may be written in every way that RFC 3339 allows."""
    assert parse_rfc3339(text) == at_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-11-22",
        "2026-11-22T16:00Z",
        "2026-11-22T16:00:00",
        "20261122T160000Z",
        "2026-W47-7T16:00:00Z",
        "2026-11-22T16:00:00.Z",
        "2026-11-22T16:00:00+24:00",
        "2026-11-22T16:00:00+01:60",
        "2026-11-22T16:00:00Z\n",
        "٢٠٢٦-11-22T16:00:00Z",
        "2026-02-29T16:00:00Z",
        "2026-11-22T24:00:00Z",
        "2026-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """What is not RFC 3339, or no time that exists, raises an error of one line."""
    with pytest.raises(ValueError, match=r"^(not a time of RFC 3339|no such time)[^\n]*$"):
        parse_rfc3339(text)

"""The back-off, for any number of failures."""

from hypothesis import given
from hypothesis import strategies as st

from outdial.core.retry import Backoff

draws = st.floats(min_value=0, max_value=1, exclude_max=True)


@given(failures=st.integers(min_value=0, max_value=10**6), draw=draws)
def test_stays_between_nothing_and_the_ceiling(failures: int, draw: float) -> None:
    """A delay is never negative and never over the ceiling."""
    assert 0 <= Backoff(base=1, ceiling=60).delay(failures, draw) <= 60


@given(failures=st.integers(min_value=1, max_value=200), draw=draws)
def test_never_shrinks_with_failures(failures: int, draw: float) -> None:
    """The same draw gives no shorter delay after one more failure."""
    backoff = Backoff(base=0.5, ceiling=60)
    assert backoff.delay(failures, draw) <= backoff.delay(failures + 1, draw)


def test_doubles_from_the_base() -> None:
    """The span is the base after the first failure and doubles with each one after it."""
    backoff = Backoff(base=3, ceiling=100)
    assert [backoff.delay(failures, 1) for failures in range(1, 5)] == [3, 6, 12, 24]

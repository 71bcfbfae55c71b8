"""When a doubtful attempt is looked up, and when it is given up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outdial.core.look_ups import FIRST_MS, LookUps

HOUR = LookUps(3_000_000)


def test_pauses_double_up_to_a_sixth_of_the_window() -> None:
    """2 s, 4 s … ten minutes, for Retell's hour."""
    pauses = [HOUR.pause(doubts, 0, 3_000_000) for doubts in range(1, 15)]
    assert pauses[:3] == [2_000, 4_000, 8_000]
    assert pauses[-1] == HOUR.apart_ms == 600_000
    assert HOUR.pause(0, 0, 3_000_000) == FIRST_MS


def test_no_pause_reaches_over_the_end_of_the_window() -> None:
    """It is looked up the moment that it can't be submitted any more."""
    assert HOUR.pause(12, 0, 2_900_000) == 100_000
    assert HOUR.pause(12, 0, 3_000_000) == 600_000


def test_a_short_window_has_short_pauses() -> None:
    """So that a test need not wait for an hour."""
    assert LookUps(5_000).pause(1, 0, 0) == 1_000


@pytest.mark.parametrize(("absent_at", "given_up"), [(None, False), (1, False), (0, True)])
def test_given_up_by_two_empty_look_ups_apart(absent_at: int | None, given_up: bool) -> None:  # noqa: FBT001
    """The first one alone is not enough, nor is a second one soon after it."""
    assert HOUR.gives_up(absent_at, 600_000) is given_up


@given(
    st.integers(5, 10**8), st.integers(-5, 10**6), st.integers(0, 10**12), st.integers(0, 10**12)
)
def test_there_is_always_a_next_look_up(submit: int, doubts: int, first: int, now: int) -> None:
    """After some time, and no more than a sixth of the window."""
    look_ups = LookUps(submit)
    assert 0 < look_ups.pause(doubts, first, now) <= look_ups.apart_ms

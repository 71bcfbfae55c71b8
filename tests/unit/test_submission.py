"""What an HTTP status proves about a call that was asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outdial.core.submission import Refused, Suspended, Throttled, Unanswered, from_status

MESSAGE = "Retell's words"


@pytest.mark.parametrize("status", [400, 403, 404, 410, 413, 415, 422])
def test_refused(status: int) -> None:
    """A request that Retell would refuse again is refused, with its status and words."""
    assert from_status(status, MESSAGE) == Refused(status, MESSAGE)


@pytest.mark.parametrize("status", [401, 402])
def test_suspended(status: int) -> None:
    """A workspace without key or credit is suspended: no call is to blame."""
    assert from_status(status, MESSAGE) == Suspended(status, MESSAGE)
    assert from_status(status, MESSAGE, retells=False) == Suspended(status, MESSAGE)


def test_throttled() -> None:
    """429 and a refusal for want of a line put the call off."""
    assert from_status(429, MESSAGE) == Throttled(MESSAGE)
    assert from_status(429, MESSAGE, retells=False) == Throttled(MESSAGE)
    assert from_status(400, "Concurrency limit reached") == Throttled("Concurrency limit reached")


@pytest.mark.parametrize("status", [200, 204, 302, 304, 408, 409, 425, 500, 502, 503, 504, 529])
def test_unanswered(status: int) -> None:
    """What is not plainly somebody's fault proves nothing, so nothing may be dialed again on it."""
    assert from_status(status, MESSAGE) == Unanswered(f"HTTP {status}: {MESSAGE}")


@pytest.mark.parametrize("status", [403, 404, 405, 407])
def test_an_answer_that_is_not_retells(status: int) -> None:
    """A wrong address or a proxy refuses every call alike: that suspends, and fails no call."""
    assert from_status(status, MESSAGE, retells=False) == Suspended(status, MESSAGE)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_of_the_body_is_the_calls_whoever_said_it(status: int) -> None:
    """What is refused for its body is refused, in Retell's form or not."""
    assert from_status(status, MESSAGE, retells=False) == Refused(status, MESSAGE)


@given(st.integers(), st.text(), st.booleans())
def test_total(status: int, message: str, retells: bool) -> None:  # noqa: FBT001
    """Every status has an answer, and only a 4xx is ever a proof."""
    answer = from_status(status, message, retells=retells)
    assert isinstance(answer, Unanswered) or 400 <= status < 500

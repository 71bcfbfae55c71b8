"""When the workspace stops dialing, and what lets it begin again."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outdial.core.circuit import (
    OUTAGE_RUN,
    PROBE_MS,
    Circuit,
    CircuitState,
    Trouble,
    after_answer,
    after_read,
    opened,
)
from outdial.core.submission import (
    Placed,
    Refused,
    Submission,
    Suspended,
    Throttled,
    Unanswered,
)

PLACED = Placed("call_1")
UNANSWERED = Unanswered("HTTP 500: oops")
NOT_PAID = Suspended(402, "no balance")


def half_open(trouble: Trouble) -> Circuit:
    """Open since 0, the platform read, and `probe` let through."""
    circuit = after_read(opened(Circuit(), trouble, "why", 0), PROBE_MS[0])
    return circuit.probing("probe", 100_000)


@pytest.mark.parametrize(("status", "trouble"), [(401, "key"), (402, "payment"), (407, "key")])
def test_a_refused_workspace_opens_it(status: int, trouble: str) -> None:
    """With the platform's own words, and since when."""
    circuit = after_answer(Circuit(), "a", Suspended(status, "no"), 7)
    assert (circuit.state, circuit.trouble) == (CircuitState.OPEN, trouble)
    assert (circuit.reason, circuit.opened_at) == (f"{status} no", 7)
    assert not circuit.admits(1_000_000)


def test_a_run_without_an_answer_opens_it() -> None:
    """So many in a row, whoever submitted them."""
    circuit = Circuit()
    for number in range(OUTAGE_RUN):
        assert circuit.admits(0)
        circuit = after_answer(circuit, str(number), UNANSWERED, 0)
    assert (circuit.state, circuit.trouble) == (CircuitState.OPEN, Trouble.OUTAGE)
    assert "HTTP 500" in (circuit.reason or "")


@pytest.mark.parametrize("answer", [PLACED, Throttled("slow down"), Refused(422, "no")])
def test_any_answer_ends_the_run(answer: Submission) -> None:
    """The platform is there, whatever it says of this one call."""
    circuit = Circuit(unanswered=OUTAGE_RUN - 1)
    assert after_answer(circuit, "a", answer, 0) == Circuit()
    assert after_answer(Circuit(), "a", answer, 0) == Circuit()


def test_it_is_opened_once() -> None:
    """What was submitted before it opened comes to the same, and changes nothing."""
    circuit = opened(Circuit(), Trouble.KEY, "why", 0)
    assert opened(circuit, Trouble.OUTAGE, "another", 5) == circuit
    assert after_answer(circuit, "a", NOT_PAID, 5) == circuit
    assert after_answer(circuit, "a", PLACED, 5) == circuit


def test_a_read_lets_one_call_through() -> None:
    """Not before its time; then one call, and another only where that one's worker is overdue."""
    circuit = opened(Circuit(), Trouble.PAYMENT, "why", 0)
    assert after_read(circuit, PROBE_MS[0] - 1) == circuit
    circuit = after_read(circuit, PROBE_MS[0])
    assert circuit.state is CircuitState.HALF_OPEN
    assert circuit.admits(PROBE_MS[0])
    circuit = circuit.probing("probe", 100_000)
    assert after_read(circuit, 50_000) == circuit
    assert not circuit.admits(99_999)
    assert circuit.admits(100_000)


def test_nothing_is_a_probe_while_closed() -> None:
    """Every call goes through; a read says nothing new."""
    assert Circuit().probing("a", 1) == after_read(Circuit(), 1) == Circuit()


@pytest.mark.parametrize("trouble", Trouble)
def test_the_probe_closes_it(trouble: Trouble) -> None:
    """A call that was placed proves everything."""
    assert after_answer(half_open(trouble), "probe", PLACED, 9_000) == Circuit()


@pytest.mark.parametrize("answer", [Throttled("slow down"), Refused(422, "no")])
def test_a_limit_proves_no_payment(answer: Submission) -> None:
    """It may be found before anybody looks at the bill; a key it proves, and a platform."""
    assert after_answer(half_open(Trouble.KEY), "probe", answer, 9_000) == Circuit()
    assert after_answer(half_open(Trouble.OUTAGE), "probe", answer, 9_000) == Circuit()
    again = after_answer(half_open(Trouble.PAYMENT), "probe", answer, 9_000)
    assert (again.state, again.trouble) == (CircuitState.OPEN, Trouble.PAYMENT)


def test_a_probe_that_fails_opens_it_for_longer() -> None:
    """Twice as long each time, up to five minutes; the reason is the latest."""
    circuit = half_open(Trouble.OUTAGE)
    waits = []
    for _ in range(10):
        circuit = after_answer(circuit, "probe", NOT_PAID, 0)
        assert circuit.state is CircuitState.OPEN
        waits.append(circuit.probe_at or 0)
        circuit = after_read(circuit, 1_000_000).probing("probe", 2_000_000)
    assert all(later >= sooner for sooner, later in pairwise(waits))
    assert (waits[0], waits[-1]) == (2 * PROBE_MS[0], PROBE_MS[1])
    assert (circuit.trouble, circuit.reason) == (Trouble.PAYMENT, "402 no balance")
    assert circuit.opened_at == 0
    unanswered = after_answer(circuit, "probe", UNANSWERED, 0)
    assert (unanswered.trouble, unanswered.reason) == (Trouble.PAYMENT, "402 no balance")


_ANSWERS = st.sampled_from(
    [PLACED, UNANSWERED, NOT_PAID, Suspended(401, "x"), Throttled("x"), Refused(400, "x")]
)


@given(st.lists(st.tuples(_ANSWERS, st.booleans(), st.booleans()), max_size=60))
def test_at_most_one_probe(story: list[tuple[Submission, bool, bool]]) -> None:
    """Whatever is answered and read in whatever order, and it can always be closed again."""
    circuit = Circuit()
    now = 0
    for number, (answer, read, claim) in enumerate(story):
        now += 1_000
        if read:
            circuit = after_read(circuit, now)
        if claim and circuit.admits(now):
            circuit = circuit.probing(f"a{number}", now + 60_000)
            assert circuit.trouble is None or not circuit.admits(now)
        circuit = after_answer(circuit, circuit.probe or "other", answer, now)
        assert (circuit.trouble is None) == (circuit.opened_at is None)
    later = after_read(circuit, now + 1_000_000)
    assert later.admits(now + 1_000_000)
    probe = later.probing("last", now + 1_060_000)
    assert after_answer(probe, "last", PLACED, now + 1_000_100).state is CircuitState.CLOSED

"""Facts about the circuit between the relay and its sink."""

import pytest

from outdial.core.retry import Backoff
from outdial.relay.circuit import Circuit
from tests.unit.relay_fakes import ManualTime


@pytest.fixture
def time() -> ManualTime:
    """Stands still."""
    return ManualTime()


@pytest.fixture
def circuit(time: ManualTime) -> Circuit:
    """Opens after three calls; probes after 1, 2, then 4 seconds."""
    return Circuit(3, Backoff(1.0, 4.0), monotonic=time.monotonic, draw=lambda: 1.0)


def break_it(circuit: Circuit) -> None:
    """Three calls fail."""
    for call_id in ("a", "b", "c"):
        circuit.failed(call_id)


def test_closed_there_is_all_the_room(circuit: Circuit) -> None:
    """Nothing has failed: what is free may be used."""
    assert not circuit.is_open
    assert circuit.room(50, 7) == 50


def test_it_opens_by_calls_not_by_failures(circuit: Circuit) -> None:
    """One call that fails for ever says nothing about the others."""
    for _ in range(100):
        circuit.failed("a")
    circuit.failed("b")
    assert not circuit.is_open
    circuit.failed("c")
    assert circuit.is_open


def test_an_answer_starts_the_count_again(circuit: Circuit) -> None:
    """Failures count only in a row."""
    circuit.failed("a")
    circuit.failed("b")
    circuit.answered()
    circuit.failed("c")
    assert not circuit.is_open


def test_open_it_probes_one_at_a_time(circuit: Circuit, time: ManualTime) -> None:
    """One delivery after a second, and none while one is under way."""
    break_it(circuit)
    assert circuit.room(50, 0) == 0
    time.ms += 1_000
    assert circuit.room(50, 1) == 0
    assert circuit.room(50, 0) == 1


def test_probes_become_rarer(circuit: Circuit, time: ManualTime) -> None:
    """Each failed probe doubles the wait, up to the ceiling."""
    break_it(circuit)
    for seconds in (1, 2, 4, 4):
        time.ms += seconds * 1000 - 1
        assert circuit.room(50, 0) == 0
        time.ms += 1
        assert circuit.room(50, 0) == 1
        circuit.failed("d")


def test_late_failures_are_no_probes(circuit: Circuit, time: ManualTime) -> None:
    """Deliveries that were under way when it opened do not put the probe off."""
    break_it(circuit)
    for call_id in ("d", "e", "f"):
        circuit.failed(call_id)
    time.ms += 1_000
    assert circuit.room(50, 0) == 1


def test_one_answer_closes_it(circuit: Circuit, time: ManualTime) -> None:
    """All the room is back, and the next trouble begins with short waits again."""
    break_it(circuit)
    time.ms += 1_000
    circuit.failed("d")
    circuit.answered()
    assert not circuit.is_open
    assert circuit.room(50, 0) == 50
    break_it(circuit)
    time.ms += 1_000
    assert circuit.room(50, 0) == 1

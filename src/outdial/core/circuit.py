"""Whether the workspace dials at all: its circuit, as pure and total functions.

Closed, calls are dialed. It opens where the platform refuses every call alike (the key, the bill)
or gives no answer to a run of submissions: then nothing is dialed, and calls wait and use up
nothing. Once the platform answers a cheap read again it is half-open: one call goes through as the
probe, and its answer closes the circuit or opens it for longer.

Times in ms.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from outdial.core.submission import (
    Placed,
    Refused,
    Submission,
    Suspended,
    Throttled,
    Unanswered,
)

#: Submissions in a row without an answer, over all workers, that count as an outage.
OUTAGE_RUN = 10
#: The platform is asked again after this many ms, doubling up to the second.
PROBE_MS = (5_000, 300_000)


class Trouble(StrEnum):
    """Why nothing is dialed."""

    KEY = "key"
    PAYMENT = "payment"
    OUTAGE = "outage"


class CircuitState(StrEnum):
    """Dialing; not dialing; one call at a time, to find out."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Circuit:
    """Closed by default. `unanswered`: submissions in a row without an answer, while closed.

    `probe_at`: the platform is not probed before. `failures`: probes that failed. `probe`: the
    attempt let through while half-open, which counts as dead after `probe_until`.
    """

    trouble: Trouble | None = None
    reason: str | None = None
    opened_at: int | None = None
    probe_at: int | None = None
    failures: int = 0
    half_open: bool = False
    probe: str | None = None
    probe_until: int | None = None
    unanswered: int = 0

    @property
    def state(self) -> CircuitState:
        """Where it stands."""
        if self.trouble is None:
            return CircuitState.CLOSED
        return CircuitState.HALF_OPEN if self.half_open else CircuitState.OPEN

    def admits(self, now: int) -> bool:
        """Whether a call may be dialed now: any while closed, one while half-open."""
        if self.trouble is None:
            return True
        return self.half_open and (self.probe_until is None or self.probe_until <= now)

    def probing(self, attempt_id: str, until: int) -> "Circuit":
        """This attempt goes through; `until` then no other does. Nothing new while closed."""
        if self.trouble is None:
            return self
        return replace(self, probe=attempt_id, probe_until=until)


def opened(circuit: Circuit, trouble: Trouble, reason: str, now: int) -> Circuit:
    """Stop dialing. One that is open already stays as it is."""
    if circuit.trouble is not None:
        return circuit
    return Circuit(trouble, reason, opened_at=now, probe_at=now + PROBE_MS[0])


def after_read(circuit: Circuit, now: int) -> Circuit:
    """The platform answered a cheap read with our key: is it time to let one call through?

    Another call than before goes only where that one's worker is overdue.
    """
    due = circuit.probe_at is None or circuit.probe_at <= now
    if circuit.state is not CircuitState.OPEN or not due:
        return circuit
    return replace(circuit, half_open=True, probe=None, probe_until=None)


def after_answer(circuit: Circuit, attempt_id: str, answer: Submission, now: int) -> Circuit:
    """What the answer to a submission says of the workspace.

    While it is not closed only the probe's answer counts: others were submitted before.
    """
    if circuit.trouble is None:
        return _while_closed(circuit, answer, now)
    if circuit.probe != attempt_id:
        return circuit
    if _proves(circuit.trouble, answer):
        return Circuit()
    first, most = PROBE_MS
    failures = circuit.failures + 1
    trouble, reason = circuit.trouble, circuit.reason
    if isinstance(answer, Suspended):
        trouble, reason = _of(answer)
    return replace(
        circuit,
        trouble=trouble,
        reason=reason,
        failures=failures,
        probe_at=now + min(most, first * 2 ** min(failures, 20)),
        half_open=False,
        probe=None,
        probe_until=None,
    )


def _while_closed(circuit: Circuit, answer: Submission, now: int) -> Circuit:
    match answer:
        case Suspended():
            return opened(circuit, *_of(answer), now)
        case Unanswered() if circuit.unanswered + 1 >= OUTAGE_RUN:
            reason = f"{OUTAGE_RUN} submissions in a row without an answer; {answer.detail}"
            return opened(circuit, Trouble.OUTAGE, reason, now)
        case Unanswered():
            return replace(circuit, unanswered=circuit.unanswered + 1)
        case Placed() | Throttled() | Refused():  # pragma: no branch - mypy proves it the last
            return circuit if circuit.unanswered == 0 else replace(circuit, unanswered=0)


def _of(answer: Suspended) -> tuple[Trouble, str]:
    trouble = Trouble.PAYMENT if answer.status == 402 else Trouble.KEY
    return trouble, f"{answer.status} {answer.message}"


def _proves(trouble: Trouble, answer: Submission) -> bool:
    """Whether this answer shows the trouble to be over.

    A limit or a fault of the call itself may be found before anybody looks at the bill.
    """
    if isinstance(answer, Throttled | Refused):
        return trouble is not Trouble.PAYMENT
    return isinstance(answer, Placed)

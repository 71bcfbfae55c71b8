"""The ledger as the call processor sees it: permits, claims, and what came of submissions.

Times in ms. Every method raises `Unavailable("database", …)` when the database does not answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from outdial.core.circuit import CircuitState, Trouble
from outdial.core.submission import Absent, Submission


@dataclass(frozen=True, slots=True)
class Claim:
    """An attempt this worker owns until `lease_until`, and may submit.

    `body`: the exact create-phone-call request. `look_up_first`: an earlier owner may have
    submitted it, so Retell is asked for it by metadata before anything else.
    `submit_until`: no submission of it after this time (five sixths of the idempotency window
    after the first); None of these times is the worker's own clock: `lease_ms` and `submit_ms`
    are what was left of them when the claim was made, for its monotonic clock.
    """

    call_id: str
    attempt_id: str
    number: int
    lease_token: str
    lease_ms: int
    submit_ms: int
    body: dict[str, Any]
    look_up_first: bool


@dataclass(frozen=True, slots=True)
class NotClaimed:
    """The hint came to nothing. `retry_ms`: look again then; None: the database knows when."""

    call_id: str
    why: str
    retry_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a submission (or the look-up before it) came to.

    `submitted`: the platform was asked to dial, so its answer says something of the workspace.
    """

    call_id: str
    attempt_id: str
    lease_token: str
    submission: Submission | Absent
    submitted: bool = True


@dataclass(frozen=True, slots=True)
class Recorded:
    """`kept` is False where the lease had passed to another worker; `alarm` is one raised."""

    attempt_id: str
    kept: bool
    alarm: str | None = None


@dataclass(frozen=True, slots=True)
class Permits:
    """How many calls may be dialed now; `wait_ms` until the next may come free by rate."""

    free: int
    wait_ms: int
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class SecondDial:
    """A second call of one attempt, which is to be ended."""

    alarm_id: str
    attempt_id: str
    retell_call_id: str


@dataclass(frozen=True, slots=True)
class DialingStatus:
    """Whether calls are dialed, and what is not settled.

    `since`: when the circuit opened; `probe_at`: the platform is not probed before. `paused`:
    everything is. `unknown`: submissions whose fate is not known, the oldest since
    `unknown_since`. `alarms` of the last day, by kind.
    """

    at: int
    circuit: CircuitState
    trouble: Trouble | None
    reason: str | None
    since: int | None
    probe_at: int | None
    paused: bool
    unknown: int
    unknown_since: int | None
    alarms: Mapping[str, int]


class Dialing(Protocol):
    """Exactly one dial."""

    async def permits(self) -> Permits:
        """A look without locks; the permits themselves are taken in `claim`."""
        ...

    async def claim(self, call_ids: Sequence[str]) -> list[Claim | NotClaimed]:
        """Claim due calls, or take over attempts whose lease is over; an answer each, in order."""
        ...

    async def may_submit_again(self, claim: Claim) -> bool:
        """Whether an attempt that was looked up and not found may be dialed *now*.

        Checks lease, pause, circuit and expiry, and renews the lease. Its line it holds since its
        first claim; its share of the rate was taken when it was claimed again.
        """
        ...

    async def record(self, answers: Sequence[Answer]) -> list[Recorded]:
        """Write what came of submissions, with the activity events, in one commit."""
        ...

    async def now(self) -> int:
        """The ledger's clock, in ms."""
        ...

    async def measured(
        self, current: int, limit: int, reserved_inbound: int, *, asked_at: int
    ) -> None:
        """What the platform says of its lines, to correct our own count.

        `asked_at`: the ledger's clock before it was asked; what was placed since, the platform
        may not have counted.
        """
        ...

    async def take_over(self, limit: int) -> list[Claim]:
        """Attempts that no worker owns and whose fate is not known, to be looked up.

        None while the circuit is open for a trouble that makes look-ups worthless.
        """
        ...

    async def witness(self) -> str | None:
        """The Retell call id that Retell itself told us of last; None where it never did.

        A platform that does not know it is not the one we dial through.
        """
        ...

    async def reached(self) -> CircuitState:
        """The platform answered a cheap read with our key; where the circuit stands after that.

        One that is open may be half-open now, and let one call through.
        """
        ...

    async def status(self) -> DialingStatus:
        """How dialing stands, for whoever looks."""
        ...

    async def second_dials(self, limit: int) -> list[SecondDial]:
        """Second calls of an attempt that nobody has ended yet, oldest first."""
        ...

    async def stopped(self, second: SecondDial) -> None:
        """The platform took the order to end it."""
        ...

"""The words between a consumer, its stage, and whoever watches it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from outdial.core.retry import Backoff
from outdial.errors import OutdialError
from outdial.ports.queue import Received


@dataclass(frozen=True, slots=True)
class Retry:
    """The verdict on a message that is to come again `after` seconds, twelve hours at most."""

    after: float


#: What a handler says of one message; None is done.
Verdict = Retry | OutdialError | None
#: Takes a batch, gives a verdict a message, in order; or raises what holds for all of them.
Handle = Callable[[Sequence[Received]], Awaitable[Sequence[Verdict]]]


_MESSAGES = Backoff(base=1.0, ceiling=300.0)
_PROBES = Backoff(base=0.5, ceiling=30.0)


@dataclass(frozen=True, slots=True)
class Rules:
    """When the consumer gives up, and how it waits. Times in seconds.

    `backoff` is for messages and `probing` for a dependency that is down. `poison_run`: dead
    letters in a row, without one success, that halt it. `unexpected_receives`: after so many a
    message that fails by a fault of ours is dead-lettered. `idle`: between two looks at a limit
    of 0. `wait`: of one long poll.
    """

    backoff: Backoff = _MESSAGES
    probing: Backoff = _PROBES
    poison_run: int = 20
    unexpected_receives: int = 20
    idle: float = 0.1
    wait: float = 20.0


StateName = Literal["running", "waiting", "halted", "stopped"]


@dataclass(frozen=True, slots=True)
class State:
    """What a consumer is about; `since` in ms since the epoch, `detail` names the cause."""

    name: StateName
    since: int
    detail: str = ""


@dataclass(slots=True)
class Counters:
    """Messages since the start."""

    received: int = 0
    done: int = 0
    retried: int = 0
    dead: int = 0

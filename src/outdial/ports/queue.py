"""A durable queue with the semantics of an SQS standard queue.

At least once, no order promised. A message received is invisible for its visibility timeout and
comes back unless it is deleted. After `max_receives` receives it moves to the dead-letter queue
by itself; poison is moved there at once, by `dead_letter`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

#: SQS's limit on one message and on one batch of up to ten, in bytes.
MAX_MESSAGE_BYTES = 1_048_576
#: SQS's limit on messages a request, both ways.
MAX_BATCH = 10
#: SQS's limits on the delay of a message and on a visibility timeout, in seconds.
MAX_DELAY = 900
MAX_VISIBILITY = 43_200


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to send. `group` is for fairness between tenants only; it orders nothing."""

    body: str
    group: str | None = None
    delay_seconds: int = 0


def check_message(message: Outgoing) -> int:
    """Bytes of the body; raises `ValueError` for a message that no queue takes."""
    body = message.body
    size = len(body) if body.isascii() else len(body.encode())
    if size > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {size} bytes is over the limit of {MAX_MESSAGE_BYTES}")
    if not 0 <= message.delay_seconds <= MAX_DELAY:
        raise ValueError(f"a delay of {message.delay_seconds} s is not in 0 to {MAX_DELAY}")
    return size


def check_visibility(seconds: float) -> float:
    """`seconds` itself; raises `ValueError` for a visibility timeout that no queue takes."""
    if not 0 <= seconds <= MAX_VISIBILITY:
        raise ValueError(f"a visibility of {seconds} s is not in 0 to {MAX_VISIBILITY}")
    return seconds


@dataclass(frozen=True, slots=True)
class Received:
    """A message received; `receipt` is good until the visibility timeout is over."""

    id: str
    body: str
    receipt: str
    receive_count: int
    sent_at: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that will not be tried again by itself, and why. Times in ms."""

    id: str
    body: str
    reason: str
    stage: str
    receive_count: int
    sent_at: int
    dead_at: int


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages lie in the queue; on SQS approximate."""

    visible: int
    in_flight: int
    delayed: int
    dead: int


class Queue(Protocol):
    """One queue. Every method raises `Unavailable` when the queue does not answer."""

    @property
    def name(self) -> str:
        """`calls` or `events`."""
        ...

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Store all of `messages` durably before returning. Any number of them.

        Raises `ValueError` for a body over `MAX_MESSAGE_BYTES` or a delay over `MAX_DELAY`, and
        stores none then. When it raises `Unavailable`, some may have been stored all the same:
        sending again is the caller's remedy.
        """
        ...

    async def receive(
        self, limit: int = MAX_BATCH, wait: float = 0.0, visibility: float | None = None
    ) -> list[Received]:
        """Up to `limit` messages; waits up to `wait` seconds (20 at most) for the first one.

        `limit` may exceed `MAX_BATCH`; the adapter then asks as often as it needs to without
        waiting. `visibility` in seconds, by default the queue's own.
        """
        ...

    async def delete(self, messages: Sequence[Received]) -> None:
        """Acknowledge. A receipt that is over or unknown is passed over silently."""
        ...

    async def change_visibility(self, messages: Sequence[Received], seconds: float) -> None:
        """Make them visible again `seconds` from now (0: at once). Stale receipts are ignored.

        Raises `ValueError` for more than `MAX_VISIBILITY`; so does `receive`.
        """
        ...

    async def dead_letter(self, message: Received, reason: str, stage: str) -> None:
        """Move one message to the dead-letter queue with its reason; then delete it."""
        ...

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """Look at dead letters, oldest first, without removing them."""
        ...

    async def redrive(self, ids: Sequence[str] | None = None) -> int:
        """Send dead letters (all by default) back to the queue; how many were sent."""
        ...

    async def depth(self) -> Depth:
        """How much lies in the queue."""
        ...

    async def close(self) -> None:
        """Release what the adapter holds; a `receive` still waiting returns at once, empty."""
        ...


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """How a queue that is not ours alone was set up. Times in seconds.

    `max_receives`: after so many a message is dead-lettered by the queue itself; None where it
    has no dead-letter queue, and then `dead_retention` is None too.
    """

    visibility: int
    max_receives: int | None
    max_bytes: int
    retention: int
    dead_retention: int | None
    region: str


@runtime_checkable
class Provisioned(Protocol):
    """A queue that somebody else set up, perhaps otherwise than Outdial needs it."""

    async def settings(self) -> QueueSettings:
        """How it is set up. Raises `Unavailable`, naming the permission that is missing."""
        ...

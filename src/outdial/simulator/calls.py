"""One simulated call: fixed when it is placed, so its state is a function of the time alone."""

from dataclasses import dataclass, field, fields
from enum import IntEnum


class Stage(IntEnum):
    """How far a call has come."""

    REGISTERED = 0
    ONGOING = 1
    ENDED = 2
    ANALYZED = 3


STARTED, OVER, ANALYSED, STRANGE = 1, 2, 4, 8
EVENT_NAMES = {
    STARTED: "call_started",
    OVER: "call_ended",
    ANALYSED: "call_analyzed",
    STRANGE: "call_daydreamed",
}


@dataclass(slots=True, eq=False)
class Call:
    """A row of the store, in the order of its columns; times are epoch ms of the wall clock.

    Nothing but stopping changes the times, so a restart goes on with the very same call, and an
    event that is told again is told in the same words.
    """

    seq: int
    call_id: str
    created_at: int
    from_number: str
    to_number: str
    dial: int
    """How many dials of this number rang before; part of what the dice depend on."""
    idempotency_key: str | None
    agent_id: str
    agent_version: int
    metadata: bytes | None
    variables: bytes | None
    extras: bytes
    """JSON of what few calls have: webhook_url, sim_ settings, SIP headers, attributes."""
    dice: int
    outcome: str
    final_status: str
    reason: str
    plot: str
    talk_ms: int
    start_at: int | None
    """When it connects; none for a call that never does."""
    end_at: int
    analyzed_at: int
    analyses: int
    sort_at: int
    rang: bool
    webhook_first: bool
    settled: int
    """Bits of the events that were delivered, dropped or lost: nothing more to send for them."""
    open: bool
    """Events lie ahead or webhooks are still to be sent."""
    deleted: bool
    told: int = field(default=0, metadata={"kept": False})
    """Bits of the events that were announced; not a column, for `settled` outlives it."""

    def stage(self, now_ms: int) -> Stage:
        """Where the call is at that time."""
        if now_ms >= self.analyzed_at and self.to_be_analysed:
            return Stage.ANALYZED
        if now_ms >= self.end_at:
            return Stage.ENDED
        if self.start_at is not None and now_ms >= self.start_at:
            return Stage.ONGOING
        return Stage.REGISTERED

    def status(self, stage: Stage) -> str:
        """Retell's `call_status` at that stage."""
        if stage >= Stage.ENDED:
            return self.final_status
        return "ongoing" if stage is Stage.ONGOING else "registered"

    def told_start(self) -> int | None:
        """`start_timestamp`: its told duration before its end, whatever the speed."""
        return None if self.start_at is None else self.end_at - self.talk_ms

    @property
    def to_be_analysed(self) -> bool:
        """Whether post-call analysis is on for it."""
        return b'"analysis":false' not in self.extras

    def events(self) -> list[tuple[int, int]]:
        """(bit, time) of every event, in their right order."""
        told = [(OVER, self.end_at)]
        if self.to_be_analysed:
            told.append((ANALYSED, self.analyzed_at))
        if b'"unknown":true' in self.extras:
            told.insert(1, (STRANGE, self.end_at))
        if self.start_at is not None:
            told.insert(0, (STARTED, self.start_at))
        return told

    def event_at(self, bit: int) -> int:
        """When that event happens, the `event_timestamp` it is told with."""
        if bit == STARTED and self.start_at is not None:
            return self.start_at
        return self.analyzed_at if bit == ANALYSED else self.end_at


COLUMNS = tuple(each.name for each in fields(Call) if each.metadata.get("kept", True))

"""Who judges a crash test: the platform's book, the receiver's book, and the program's own audit.

Each judge names what it finds; none of them believes the program's database.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from systemtest.accounts import ATTEMPT_ENDS, INITIATED, STARTED
from systemtest.receiver import Event
from systemtest.services import ENDS

#: What the simulator calls the fates of a call that somebody or something answered.
_CONNECTED = frozenset({"answered", "voicemail", "ivr", "error"})
_COMPLETED, _FAILED = "voice_call.completed", "voice_call.failed"
Dials = Sequence[Mapping[str, Any]]


def lost(accepted: Collection[str], dials: Dials) -> list[str]:
    """Accepted calls that never rang."""
    rang = {_call_of(dial) for dial in dials if dial["rang"]}
    return sorted(set(accepted) - rang)


def dialed_twice(dials: Dials) -> list[str]:
    """Calls that rang more than once."""
    rang = Counter(_call_of(dial) for dial in dials if dial["rang"])
    return sorted(call_id for call_id, count in rang.items() if count > 1)


def faults_of_dialing(accepted: Collection[str], dials: Dials) -> Iterator[str]:
    """What the platform's book says of calls that nobody asked for, and attempts placed twice."""
    for call_id in sorted({_call_of(dial) for dial in dials} - set(accepted)):
        yield f"call {call_id} was dialed, and nobody asked for it"
    by_attempt = Counter(dial["metadata"]["outdial_attempt_id"] for dial in dials)
    for attempt_id, count in by_attempt.items():
        if count > 1:
            yield f"attempt {attempt_id} was placed {count} times"
    if len({dial["idempotency_key"] for dial in dials}) < len(dials):
        yield "an idempotency key was used for two calls"


def faults_of_statuses(accepted: Collection[str], statuses: Mapping[str, str]) -> Iterator[str]:
    """What the Voice API says of calls that are missing, made up, or not over."""
    for call_id in sorted(set(accepted) - set(statuses)):
        yield f"call {call_id} was accepted and is gone"
    for call_id in sorted(set(statuses) - set(accepted)):
        yield f"call {call_id} was never accepted"
    for call_id, status in statuses.items():
        if status not in ENDS:
            yield f"call {call_id} is still {status}"


def faults_of_telling(
    events: Sequence[Event], dials: Dials, statuses: Mapping[str, str]
) -> Iterator[str]:
    """What was told twice, in the wrong order, wrongly, or not at all; `events` as they came."""
    first: dict[str, Event] = {}
    for event in events:
        if first.setdefault(event.id, event) != event:
            yield f"event {event.id} came with two contents"
    by_call: dict[str, list[Event]] = defaultdict(list)
    for event in first.values():
        by_call[event.call_id].append(event)
    for call_id, told in by_call.items():
        sequences = [event.sequence for event in told]
        if sequences != list(range(1, len(told) + 1)):
            yield f"call {call_id} was told in the order {sequences}"
        if told[-1].type.removeprefix("voice_call.") != statuses.get(call_id):
            yield f"call {call_id} is {statuses.get(call_id)}, and was told as {told[-1].type}"
    yield from _faults_of_attempts(list(first.values()), dials)


def _faults_of_attempts(events: Sequence[Event], dials: Dials) -> Iterator[str]:
    by_retell: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.attempt is not None:
            by_retell[event.data["retell_call_id"]].append(event)
    for dial in dials:
        types = [event.type for event in by_retell.pop(dial["call_id"], [])]
        fault = _fault_of_attempt(types, dial)
        if fault is not None:
            outcome, rang = dial["outcome"], "rang" if dial["rang"] else "did not ring"
            yield f"call {_call_of(dial)}, {dial['call_id']} ({outcome}, {rang}) {fault}"
    for retell_call_id in by_retell:
        yield f"{retell_call_id} was told, and never dialed"


def _fault_of_attempt(types: list[str], dial: Mapping[str, Any]) -> str | None:
    if not types:
        return "was never told"
    if types[0] != INITIATED or types.count(INITIATED) > 1:
        return f"was not told as initiated once, and first: {types}"
    if types[-1] not in ATTEMPT_ENDS or sum(kind in ATTEMPT_ENDS for kind in types) != 1:
        return f"was not told to end once, and last: {types}"
    connected = dial["rang"] and dial["outcome"] in _CONNECTED
    wanted = [INITIATED, STARTED, _COMPLETED] if connected else [INITIATED, _FAILED]
    return None if types == wanted else f"was told as {types}"


def _call_of(dial: Mapping[str, Any]) -> str:
    call_id: str = dial["metadata"]["outdial_call_id"]
    return call_id

"""What Retell's own word about an attempt comes to, where its webhooks have not told it.

A call object is read as the events that it proves: told to the ledger they commute with the
webhooks themselves, should those come after all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from outdial.core.call import LIVE, AttemptStatus, HeardAnalyzed
from outdial.core.retell_events import CALL_ANALYZED, CALL_ENDED, CALL_STARTED, parse

#: An event of our own: Retell has the call, and nothing has happened to it yet.
CALL_FOUND = "call_found"
#: A silent attempt is asked about less and less often, up to so many ms apart.
LONGEST_MS = 3_600_000

Object = Mapping[str, Any]


class Drift(StrEnum):
    """How Retell and the ledger differed."""

    START_MISSED = "start_missed"
    END_MISSED = "end_missed"
    ANALYSIS_MISSED = "analysis_missed"
    NEVER_ANALYSED = "never_analysed"
    NOT_FOUND = "not_found"
    ADOPTED = "adopted"
    SECOND_CALL = "second_call"
    UNKNOWN_CALL = "unknown_call"


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger knows of an attempt. `silent_ms`: nothing was heard for so long."""

    status: AttemptStatus
    told_started: bool
    line_open: bool
    silent_ms: int


#: A call that the ledger does not know at all.
NOTHING = Known(AttemptStatus.INITIATED, told_started=False, line_open=True, silent_ms=0)


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is to be told to the ledger, in this order; `again_ms`: when to ask again."""

    events: tuple[Object, ...]
    drift: Drift | None
    again_ms: int


def learn(call: Object, known: Known, *, after_ms: int, analysis_after_ms: int) -> Lesson:
    """Read a call object of get-call against what is known.

    `after_ms`: silence before an attempt is asked about. `analysis_after_ms`: how long after the
    end of a call its analysis is waited for; what is known then concludes it.
    """
    again_ms = max(after_ms, min(known.silent_ms, LONGEST_MS))
    if _analysed(call):
        return Lesson((_event(CALL_ANALYZED, call),), Drift.ANALYSIS_MISSED, again_ms)
    live = known.status in LIVE
    if not _ended(call):
        if live and not known.told_started and call.get("call_status") == "ongoing":
            return Lesson((_started(call),), Drift.START_MISSED, again_ms)
        return Lesson((), None, again_ms)
    left_ms = analysis_after_ms - known.silent_ms
    if known.line_open:
        started = (_started(call),) if _connected(call) and not known.told_started else ()
        events = (*started, _event(CALL_ENDED, call))
        return Lesson(events, Drift.END_MISSED, min(again_ms, analysis_after_ms))
    if left_ms > 0:
        return Lesson((), None, min(again_ms, left_ms))
    if live or known.status is AttemptStatus.LOST:
        return Lesson((_event(CALL_ANALYZED, call),), Drift.NEVER_ANALYSED, again_ms)
    return Lesson((), None, again_ms)


def adoption(call: Object, *, after_ms: int, analysis_after_ms: int) -> tuple[Object, ...]:
    """The events that tell the ledger of a call that it does not know."""
    lesson = learn(call, NOTHING, after_ms=after_ms, analysis_after_ms=analysis_after_ms)
    return lesson.events or ({"event": CALL_FOUND, "call": _basic(call)},)


def _event(name: str, call: Object) -> Object:
    return {"event": name, "call": call}


def _started(call: Object) -> Object:
    return _event(CALL_STARTED, _basic(call) | {"call_status": "ongoing"})


#: What `call_started` tells; none of it changes while a call goes on.
_BASIC = (
    "call_id",
    "call_type",
    "agent_id",
    "agent_version",
    "agent_name",
    "call_status",
    "direction",
    "from_number",
    "to_number",
    "metadata",
    "retell_llm_dynamic_variables",
    "start_timestamp",
)


def _basic(call: Object) -> dict[str, Any]:
    return {name: call[name] for name in _BASIC if name in call}


def _analysed(call: Object) -> bool:
    return parse(_event(CALL_ANALYZED, call)).analysed


def _ended(call: Object) -> bool:
    # Compared, not hashed: Retell's answer may hold anything.
    over = call.get("call_status") in ("ended", "not_connected", "error")
    return over or call.get("end_timestamp") is not None


def _connected(call: Object) -> bool:
    heard = parse(_event(CALL_ANALYZED, call)).heard
    return isinstance(heard, HeardAnalyzed) and heard.connected

"""Rows as the ledger gives them to the warehouse: a realistic, seeded mix of calls."""

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from outdial.ports.warehouse import ACTIVITY_COLUMNS, ATTEMPT_COLUMNS, CALL_COLUMNS

Row = dict[str, Any]

OUTCOMES = {
    # outcome: weight, Retell's status, Retell's reason
    "answered": (52, "ended", "user_hangup"),
    "voicemail": (17, "ended", "voicemail_reached"),
    "no_answer": (18, "not_connected", "dial_no_answer"),
    "busy": (6, "not_connected", "dial_busy"),
    "declined": (4, "not_connected", "user_declined"),
    "failed": (2, "not_connected", "invalid_destination"),
    "error": (1, "error", "error_llm_websocket_open"),
}
_TALK = """Agent: Hi {name}, this is Ava from Northside Care. You applied for the night shift.
User: Oh, hi! Yes, I have a couple of minutes.
Agent: Wonderful. We would love to invite you to an interview. Would Thursday at two suit you?
User: Thursday is difficult. Could we do Friday morning?
Agent: Friday at half past nine is free. Shall I put you down for that?
User: Perfect, thank you.
Agent: You are all set for Friday, nine thirty. You will get a text message. Goodbye!"""


@dataclass
class Rows:
    """What one load takes."""

    calls: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)
    activity: list[Row] = field(default_factory=list)


def call_row(**values: object) -> Row:
    """A row of `calls`, every column there."""
    base: Row = dict.fromkeys(CALL_COLUMNS)
    defaults: Row = {"call_id": str(uuid.uuid4()), "version": 1, "tenant": "default", "attempts": 0}
    defaults |= {"status": "queued", "created_at": 1_000, "updated_at": 1_000}
    return base | defaults | _known(values, CALL_COLUMNS)


def attempt_row(**values: object) -> Row:
    """A row of `call_attempts`."""
    base: Row = dict.fromkeys(ATTEMPT_COLUMNS)
    defaults: Row = {
        "attempt_id": str(uuid.uuid4()),
        "version": 1,
        "tenant": "default",
        "number": 1,
    }
    defaults |= {"status": "claimed", "accepted_at": 1_000, "connected": False}
    return base | defaults | {"provisional": False} | _known(values, ATTEMPT_COLUMNS)


def activity_row(**values: object) -> Row:
    """A row of `activity_events`."""
    base: Row = dict.fromkeys(ACTIVITY_COLUMNS)
    defaults: Row = {
        "event_id": str(uuid.uuid4()),
        "tenant": "default",
        "sequence": 1,
        "data": "{}",
    }
    return base | defaults | _known(values, ACTIVITY_COLUMNS)


def _known(values: Row, columns: Mapping[str, str]) -> Row:
    assert set(values) <= set(columns), set(values) - set(columns)
    return values


def realistic(
    number: int, *, until: int, span_ms: int, seed: int = 1, tenant: str = "default"
) -> Rows:
    """`number` calls accepted over `span_ms` up to `until` (ms), most of them ended."""
    draw = random.Random(seed)  # noqa: S311 - a mix, no secret
    rows = Rows()
    campaigns = {"night-nurses": 5, "warehouse-berlin": 3, "reactivation": 2}
    for index in range(number):
        at = until - span_ms + span_ms * index // number
        campaign = draw.choices(list(campaigns), list(campaigns.values()))[0]
        call = call_row(
            call_id=str(uuid.UUID(int=(at << 80) | (7 << 76) | (2 << 62) | draw.getrandbits(60))),
            tenant=tenant,
            campaign=campaign,
            agent_id=draw.choice(["agent_interviews", "agent_follow_up"]),
            to_number=f"+1415555{draw.randrange(100, 200):04}",
            from_number="+14155550199",
            external_id=f"candidate-{index}",
            created_at=at,
            updated_at=at,
        )
        rows.calls.append(call)
        fate = draw.random()
        if fate < 0.02:
            call |= {"status": draw.choice(["cancelled", "expired"]), "version": 2}
            call["reason"] = call["status"]
        elif fate > 1 - min(0.04, 20 / number) or index > number - 4:
            call["status"] = "queued"
        else:
            _dial(rows, call, draw, under_way=index > number - 12)
    return rows


def _dial(rows: Rows, call: Row, draw: random.Random, *, under_way: bool) -> None:
    outcome = draw.choices(list(OUTCOMES), [weight for weight, _, _ in OUTCOMES.values()])[0]
    _, status, reason = OUTCOMES[outcome]
    submitted = call["created_at"] + int(draw.expovariate(1 / 1_500))
    initiated = submitted + draw.randrange(80, 400)
    connected = status == "ended"
    talk = int(draw.lognormvariate(11, 0.6)) if outcome == "answered" else 9_000
    started = initiated + draw.randrange(2_000, 18_000) if connected else None
    ended = (started or initiated + 25_000) + (talk if connected else 0)
    good = outcome == "answered" and draw.random() < 0.68
    attempt = attempt_row(
        attempt_id=str(uuid.UUID(int=draw.getrandbits(128))),
        version=4,
        call_id=call["call_id"],
        **{
            name: call[name]
            for name in ("tenant", "external_id", "campaign", "agent_id", "to_number")
        },
        from_number=call["from_number"],
        agent_version="3",
        retell_call_id=f"call_{draw.getrandbits(80):020x}",
        accepted_at=call["created_at"],
        submitted_at=submitted,
        initiated_at=initiated,
        status="started" if connected else "initiated",
        connected=connected,
        started_at=started,
    )
    call |= {"attempts": 1, "status": "in_progress", "version": 3}
    events = [("voice_call.initiated", initiated)]
    if connected:
        events.append(("voice_call.started", started or 0))
    if not under_way:
        end = "completed" if connected else "failed"
        call |= {"status": end, "version": 5, "updated_at": ended + 3_000}
        attempt |= {
            "status": end,
            "version": 5,
            "call_status": status,
            "ended_at": ended,
            "analyzed_at": ended + draw.randrange(900, 4_000),
            "outcome": outcome,
            "disconnection_reason": reason,
            "duration_ms": talk if connected else 0,
            "call_successful": good,
            "cost_usd": round(talk / 60_000 * 0.11, 6) if connected else 0.0,
            "in_voicemail": outcome == "voicemail" if connected else None,
            "latency_p50_ms": draw.uniform(500, 1_400) if connected else None,
            "metadata": '{"job":"night-shift"}',
        }
        if outcome == "answered":
            mood = draw.choices(["Positive", "Neutral", "Negative"], [6, 3, 1])[0]
            attempt |= {
                "user_sentiment": mood,
                "transcript": _TALK.format(name=draw.choice(["Ada", "Noor", "Jonas", "Mei"])),
                "call_summary": "The interview was moved to Friday, 9:30."
                if good
                else "The candidate asked to be called again next week.",
                "custom_analysis_data": '{"interview_slot":"Friday 9:30","wants_callback":false}',
            }
        events.append((f"voice_call.{end}", ended + 2_000))
    rows.attempts.append(attempt)
    for sequence, (kind, at) in enumerate(events, 1):
        rows.activity.append(
            activity_row(
                event_id=str(uuid.UUID(int=draw.getrandbits(128))),
                call_id=call["call_id"],
                attempt_id=attempt["attempt_id"],
                attempt=1,
                tenant=call["tenant"],
                type=kind,
                sequence=sequence,
                occurred_at=at,
                recorded_at=at,
                data="{}",
            )
        )

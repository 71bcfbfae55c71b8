"""Retell's call object, and the webhook envelopes around it, as its own SDK types them."""

from functools import lru_cache
from random import Random
from typing import Any

import orjson

from outdial.simulator.calls import ANALYSED, EVENT_NAMES, STARTED, Call, Stage
from outdial.simulator.conversations import cast, converse, slot_of, summarise

# Prices in cents a second of talk.
_PRICES = (("elevenlabs_tts", 0.1167), ("gpt_4_1", 0.0750), ("us_telephony", 0.0250))
_UNIT_PRICE = round(sum(price for _, price in _PRICES), 4)
_SENTIMENTS = {
    "booked": ("Positive", "Positive", "Positive", "Neutral"),
    "moved": ("Positive", "Neutral", "Neutral"),
    "callback": ("Neutral", "Neutral", "Negative"),
    "not_interested": ("Negative", "Neutral", "Neutral"),
    "wrong_person": ("Neutral", "Negative"),
}
_SUCCESSFUL = ("booked", "moved")


def call_object(call: Call, stage: Stage, *, transcripts: bool = True) -> dict[str, Any]:
    """The JSON of a call at a stage; lists leave the transcripts out."""
    extras = orjson.loads(call.extras)
    told: dict[str, Any] = {
        "call_id": call.call_id,
        "call_type": "phone_call",
        "agent_id": call.agent_id,
        "agent_version": call.agent_version,
        "agent_name": "Interview scheduler",
        "call_status": call.status(stage),
        "direction": "outbound",
        "from_number": call.from_number,
        "to_number": call.to_number,
        "data_storage_setting": extras.get("data_storage_setting", "everything"),
        "opt_in_signed_url": False,
    }
    if call.metadata is not None:
        told["metadata"] = orjson.Fragment(call.metadata)
    if call.variables is not None:
        told["retell_llm_dynamic_variables"] = orjson.Fragment(call.variables)
    for name in ("custom_sip_headers", "custom_attributes"):
        if name in extras:
            told[name] = extras[name]
    if extras.get("unknown"):
        told["quantum_confidence"] = {"is": "a field nobody knows"}
    if call.rang:
        told["telephony_identifier"] = {"twilio_call_sid": f"CA{call.dice:032x}"}
    if stage >= Stage.ONGOING and call.start_at is not None:
        told["start_timestamp"] = call.told_start()
    if stage >= Stage.ENDED:
        _tell_end(told, call, extras, transcripts=transcripts)
    if stage is Stage.ANALYZED:
        told["call_analysis"] = analysis(call)
    return told


def event_body(call: Call, bit: int) -> bytes:
    """The webhook's body: the same bytes for every try, for it tells the moment of the event."""
    stage = {STARTED: Stage.ONGOING, ANALYSED: Stage.ANALYZED}.get(bit, Stage.ENDED)
    return orjson.dumps(
        {
            "event": EVENT_NAMES[bit],
            "call": call_object(call, stage),
            "event_timestamp": call.event_at(bit),
        }
    )


def analysis(call: Call) -> dict[str, Any]:
    """`call_analysis`: of a call that never connected, that it was not successful."""
    if call.start_at is None:
        return {
            "call_summary": "The call did not connect.",
            "in_voicemail": False,
            "user_sentiment": "Unknown",
            "call_successful": False,
            "custom_analysis_data": {},
        }
    told = cast(call.dice, variables_of(call))
    summary = summarise(call.plot, told)
    if call.analyses > 1:
        summary += f" (Analysis {call.analyses}.)"
    unknown = b'"unknown":true' in call.extras
    data: dict[str, Any] = {}
    if call.outcome == "answered":
        data = {
            "interview_scheduled": call.plot in _SUCCESSFUL,
            "interview_slot": slot_of(call.plot, told),
            "callback_requested": call.plot == "callback",
        }
    return {
        "call_summary": summary,
        "in_voicemail": call.outcome == "voicemail",
        "user_sentiment": "Elated" if unknown else sentiment(call),
        "call_successful": successful(call),
        "custom_analysis_data": data,
    }


def sentiment(call: Call) -> str:
    """`user_sentiment`; nobody's where nobody spoke."""
    shades = _SENTIMENTS.get(call.plot, ("Unknown",))
    return shades[(call.dice >> 8) % len(shades)]


def successful(call: Call) -> bool:
    """`call_successful`: the agent finished its task."""
    return call.plot in _SUCCESSFUL


def combined_cost(call: Call) -> float:
    """`call_cost.combined_cost`, in cents."""
    return round(call.talk_ms / 1000 * _UNIT_PRICE, 4)


def variables_of(call: Call) -> dict[str, str]:
    """The caller's dynamic variables."""
    return orjson.loads(call.variables) if call.variables else {}


def e2e_p50(call: Call) -> int:
    """`latency.e2e.p50` in ms."""
    return 620 + (call.dice >> 16) % 480


def _tell_end(
    told: dict[str, Any], call: Call, extras: dict[str, Any], *, transcripts: bool
) -> None:
    told["disconnection_reason"] = "teleported" if extras.get("unknown") else call.reason
    told["duration_ms"] = call.talk_ms
    told["call_cost"] = _cost(call)
    if call.start_at is None:
        if transcripts:
            told.update(transcript="", transcript_object=[], transcript_with_tool_calls=[])
        return
    told["end_timestamp"] = call.end_at
    told["recording_url"] = f"https://recordings.invalid/{call.call_id}/recording.wav"
    told["public_log_url"] = f"https://recordings.invalid/{call.call_id}/public_log.txt"
    told["collected_dynamic_variables"] = {}
    told["latency"] = _latency(call)
    told["llm_token_usage"] = {"average": 1180, "num_requests": 3, "values": [1090, 1180, 1270]}
    if transcripts:
        size = extras.get("transcript_bytes", 0)
        # A long one is not kept: hundreds of them would be gigabytes.
        say = _say.__wrapped__ if size else _say
        said = say(call.dice, call.plot, call.talk_ms, call.variables, size)
        names = ("transcript", "transcript_object", "transcript_with_tool_calls")
        told.update(zip(names, map(orjson.Fragment, said), strict=True))


@lru_cache(maxsize=512)
def _say(
    dice: int, plot: str, talk_ms: int, variables: bytes | None, size: int
) -> tuple[bytes, bytes, bytes]:
    """The three forms of a transcript as JSON; told twice within seconds, so kept that long."""
    said = converse(dice, plot, talk_ms, orjson.loads(variables) if variables else {}, size)
    return (
        orjson.dumps(said.transcript),
        orjson.dumps(said.utterances),
        orjson.dumps(said.with_tool_calls),
    )


def _cost(call: Call) -> dict[str, Any]:
    seconds = call.talk_ms / 1000
    return {
        "combined_cost": combined_cost(call),
        "total_duration_seconds": round(seconds),
        "total_duration_unit_price": _UNIT_PRICE if call.talk_ms else 0,
        "product_costs": [
            {"product": product, "unit_price": price, "cost": round(seconds * price, 4)}
            for product, price in _PRICES
            if call.talk_ms
        ],
    }


def _latency(call: Call) -> dict[str, Any]:
    random = Random(call.dice ^ 3)  # noqa: S311 - a reproducible story, no secret
    p50 = e2e_p50(call)
    return {"e2e": _spread(random, p50), "llm": _spread(random, p50 // 2),
            "tts": _spread(random, p50 // 4)}  # fmt: skip


def _spread(random: Random, p50: int) -> dict[str, Any]:
    high = p50 + random.randrange(1, p50)
    values = [round(p50 * 0.9), p50, high]
    return {"p50": p50, "p90": high, "p95": high, "p99": high, "max": high, "min": values[0],
            "num": 3, "values": values}  # fmt: skip

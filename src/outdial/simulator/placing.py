"""A new call: what was asked for and what fate gave, laid out in time."""

import secrets
from typing import Any

import orjson

from outdial.simulator.calls import Call
from outdial.simulator.clock import Clock
from outdial.simulator.requests import CreateCall
from outdial.simulator.scenarios import Scenario


def new_call(  # noqa: PLR0913 - the facts of a call
    asked: CreateCall,
    scenario: Scenario,
    clock: Clock,
    *,
    seq: int,
    dial: int,
    at_ms: int,
    rang: bool,
    webhook_first: bool,
) -> Call:
    """The call placed at `at_ms`; with `webhook_first` its first event happens at once."""
    answered_at = at_ms if webhook_first else at_ms + clock.wall(scenario.ring_ms)
    end_at = answered_at + clock.wall(scenario.talk_ms)
    return Call(
        seq=seq,
        call_id=f"call_{secrets.token_hex(16)}",
        created_at=at_ms,
        from_number=asked.from_number,
        to_number=asked.to_number,
        dial=dial,
        idempotency_key=asked.idempotency_key,
        agent_id=asked.agent_id,
        agent_version=asked.agent_version,
        metadata=_dumped(asked.metadata),
        variables=_dumped(asked.variables),
        extras=orjson.dumps(asked.extras),
        dice=scenario.dice,
        outcome=scenario.outcome,
        final_status=scenario.final_status,
        reason=scenario.reason,
        plot=scenario.plot,
        talk_ms=scenario.talk_ms,
        start_at=answered_at if scenario.connects else None,
        end_at=end_at,
        analyzed_at=end_at + clock.wall(scenario.analysis_ms),
        analyses=1,
        sort_at=end_at - scenario.talk_ms if scenario.connects else at_ms,
        rang=rang,
        webhook_first=webhook_first,
        settled=0,
        open=True,
        deleted=False,
    )


def _dumped(value: dict[str, Any] | None) -> bytes | None:
    return None if value is None else orjson.dumps(value)

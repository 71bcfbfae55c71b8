"""The typed filters of list-calls: SQL where an index helps, and tests that decide."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from outdial.simulator.calls import Call, Stage
from outdial.simulator.payloads import (
    analysis,
    combined_cost,
    e2e_p50,
    sentiment,
    successful,
    variables_of,
)
from outdial.simulator.requests import ApiError
from outdial.simulator.store import index_value

Test = Callable[[Call, Stage], bool]
Read = Callable[[Call, Stage], object]

_STATUSES = frozenset({"not_connected", "ongoing", "ended", "error"})
_OPERATIONS = {
    "string": {"eq", "ne", "sw", "ew", "co"},
    "number": {"eq", "ne", "gt", "ge", "lt", "le"},
    "range": {"bt"},
    "enum": {"in"},
    "boolean": {"eq"},
    "present": {"pr", "np"},
}
_NUMERIC: tuple[str, ...] = ("number", "range")
_ANY: tuple[str, ...] = tuple(_OPERATIONS)


@dataclass(frozen=True, slots=True)
class _Field:
    read: Read
    kinds: tuple[str, ...]


def _ended(read: Callable[[Call], object]) -> Read:
    return lambda call, stage: read(call) if stage >= Stage.ENDED else None


def _analysed(read: Callable[[Call], object]) -> Read:
    return lambda call, stage: read(call) if stage is Stage.ANALYZED else None


_FIELDS = {
    "call_id": _Field(lambda call, _: call.call_id, ("string", "enum")),
    "batch_call_id": _Field(lambda _call, _: None, ("string",)),
    "agent_tag": _Field(lambda _call, _: None, ("enum",)),
    "call_status": _Field(lambda call, stage: call.status(stage), ("enum",)),
    "call_type": _Field(lambda _call, _: "phone_call", ("enum",)),
    "direction": _Field(lambda _call, _: "outbound", ("enum",)),
    "from_number": _Field(lambda call, _: call.from_number, ("string",)),
    "to_number": _Field(lambda call, _: call.to_number, ("string",)),
    "start_timestamp": _Field(
        lambda call, stage: call.told_start() if stage >= Stage.ONGOING else None, _NUMERIC
    ),
    "end_timestamp": _Field(
        _ended(lambda call: None if call.start_at is None else call.end_at), _NUMERIC
    ),
    "duration_ms": _Field(_ended(lambda call: call.talk_ms), _NUMERIC),
    "combined_cost": _Field(_ended(combined_cost), _NUMERIC),
    "e2e_latency_p50": _Field(
        _ended(lambda call: None if call.start_at is None else e2e_p50(call)), _NUMERIC
    ),
    "disconnection_reason": _Field(_ended(lambda call: call.reason), ("enum",)),
    "data_storage_setting": _Field(
        lambda call, _: orjson.loads(call.extras).get("data_storage_setting", "everything"),
        ("enum",),
    ),
    "in_voicemail": _Field(_analysed(lambda call: call.outcome == "voicemail"), ("boolean",)),
    "call_successful": _Field(_analysed(successful), ("boolean",)),
    "user_sentiment": _Field(_analysed(sentiment), ("enum",)),
}
# Filters that are lists of conditions, each with the key that it looks at.
_KEYED: dict[str, Callable[[Call, Stage], dict[str, Any]]] = {
    "metadata": lambda call, _: orjson.loads(call.metadata) if call.metadata else {},
    "dynamic_variables": lambda call, _: dict(variables_of(call)),
    "custom_attributes": lambda call, _: orjson.loads(call.extras).get("custom_attributes", {}),
    "custom_analysis_data": lambda call, stage: (
        analysis(call)["custom_analysis_data"] if stage is Stage.ANALYZED else {}
    ),
}


def criterion(name: str, condition: Any) -> tuple[str, tuple[object, ...], list[Test]]:  # noqa: ANN401
    """SQL that narrows the search where an index helps, and the tests that decide."""
    if name == "agent":
        return "", (), [_agent(condition)]
    if name in _KEYED:
        return _keyed(name, condition)
    field = _FIELDS.get(name)
    if field is None:
        raise ApiError(400, f"Unknown filter {name}")
    test = _test(name, condition, field.kinds)
    value: Any = condition.get("value")
    if name == "call_status" and not set(value) <= _STATUSES:
        raise ApiError(400, f"call_status is one of {', '.join(sorted(_STATUSES))}")
    where, values = "", tuple[object, ...]()
    if name in ("call_id", "to_number") and condition["op"] == "eq":
        where, values = f" AND {name} = ?", (value,)
    elif name == "call_id" and condition["op"] == "in":
        where, values = (
            " AND call_id IN (SELECT value FROM json_each(?))",
            (orjson.dumps(value).decode(),),
        )
    return where, values, [lambda call, stage: test(field.read(call, stage))]


def _keyed(name: str, conditions: Any) -> tuple[str, tuple[object, ...], list[Test]]:  # noqa: ANN401
    if not isinstance(conditions, list):
        raise ApiError(400, f"{name} must be a list of conditions")
    where, values, tests = "", tuple[object, ...](), list[Test]()
    for condition in conditions:
        test = _test(name, condition, _ANY)
        key = condition.get("key")
        if not isinstance(key, str):
            raise ApiError(400, f"{name} needs the key that it looks at")
        indexed = index_value(condition.get("value"))
        if (
            name == "metadata"
            and condition["type"] == "string"
            and condition["op"] == "eq"
            and indexed is not None
        ):
            where += " AND seq IN (SELECT seq FROM metadata_values WHERE name = ? AND value = ?)"
            values += (key, indexed)
        tests.append(_key_test(_KEYED[name], key, test))
    return where, values, tests


def _key_test(
    read: Callable[[Call, Stage], dict[str, Any]], key: str, test: Callable[[object], bool]
) -> Test:
    return lambda call, stage: test(read(call, stage).get(key))


def _agent(agents: Any) -> Test:  # noqa: ANN401
    if not isinstance(agents, list) or not all(
        isinstance(agent, dict) and isinstance(agent.get("agent_id"), str) for agent in agents
    ):
        raise ApiError(400, "agent must be a list of objects with an agent_id")
    wanted = {agent["agent_id"]: set(agent.get("version") or ()) for agent in agents}

    def test(call: Call, _: Stage) -> bool:
        versions = wanted.get(call.agent_id)
        return versions is not None and (not versions or call.agent_version in versions)

    return test


def _test(name: str, condition: Any, kinds: tuple[str, ...]) -> Callable[[object], bool]:  # noqa: ANN401
    if not isinstance(condition, dict):
        raise ApiError(400, f"{name} must be a typed condition: type, op, value")
    kind, op = condition.get("type"), condition.get("op")
    if kind not in kinds:
        raise ApiError(400, f"{name}: type is one of {', '.join(kinds)}")
    if op not in _OPERATIONS[kind]:
        raise ApiError(
            400, f"{name}: op of a {kind} is one of {', '.join(sorted(_OPERATIONS[kind]))}"
        )
    value = condition.get("value")
    if not _fits(kind, value):
        raise ApiError(400, f"{name}: the value does not fit a {kind}")
    return _comparison(op, value)


def _fits(kind: str, value: object) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "number":
            return _is_number(value)
        case "range":
            return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
        case "enum":
            return isinstance(value, list) and all(isinstance(each, str) for each in value)
        case "boolean":
            return isinstance(value, bool)
        case _:
            return True


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _comparison(op: str, value: Any) -> Callable[[object], bool]:  # noqa: ANN401
    """The test of one operation. What a call does not have passes `np` and `ne` only."""
    kind = type(value)

    def alike(have: object) -> bool:
        return _is_number(have) if _is_number(value) else isinstance(have, kind)

    comparisons: dict[str, Callable[[Any], bool]] = {
        "eq": lambda have: alike(have) and have == value,
        "ne": lambda have: not (alike(have) and have == value),
        "sw": lambda have: isinstance(have, str) and have.startswith(value),
        "ew": lambda have: isinstance(have, str) and have.endswith(value),
        "co": lambda have: isinstance(have, str) and value in have,
        "gt": lambda have: _is_number(have) and have > value,
        "ge": lambda have: _is_number(have) and have >= value,
        "lt": lambda have: _is_number(have) and have < value,
        "le": lambda have: _is_number(have) and have <= value,
        "bt": lambda have: _is_number(have) and value[0] <= have <= value[1],
        "in": lambda have: isinstance(have, str) and have in value,
        "pr": lambda have: have is not None,
        "np": lambda have: have is None,
    }
    return comparisons[op]

"""From a decoded body to a new call, or to every fault in it."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import uuid_utils
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from outdial.http_common.problems import Fault, ProblemError, faults_in, invalid
from outdial.internal_api.fields import canonical, idempotency_key, instant
from outdial.internal_api.schemas import CallRequest
from outdial.ports.intake import NewCall


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the configuration gives where a call names none."""

    from_number: str | None = None
    agent_id: str | None = None


class NotNowError(ProblemError):
    """The request itself is right; the clock or the configuration refuses it now.

    A repetition of a request that was accepted earlier is not refused for that.
    """


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key, if there is one; `faults` where what was given is none."""

    value: str | None
    faults: tuple[Fault, ...] = ()


def read_key(value: object, pointer: str) -> Key:
    """`pointer` says where the key was given."""
    if value is None:
        return Key(None)
    try:
        return Key(idempotency_key(value))
    except ValueError as error:
        return Key(None, (Fault(pointer, str(error)),))


def read_call(tenant: str, raw: object, defaults: Defaults, key: Key) -> NewCall:
    """A new call from a decoded body; `ProblemError` with a 422 that names every fault."""
    circumstances = _circumstances(raw, defaults) if isinstance(raw, Mapping) else []
    try:
        request = CallRequest.model_validate(raw)
    except ValidationError as error:
        faults = faults_in(error.errors(include_url=False, include_input=False))
        raise ProblemError(invalid([*key.faults, *faults, *circumstances])) from None
    if key.faults:
        raise ProblemError(invalid([*key.faults, *circumstances]))
    if circumstances:
        raise NotNowError(invalid(circumstances))
    return NewCall(
        id=str(uuid_utils.uuid7()),
        tenant=tenant,
        to_number=request.to_number,
        from_number=request.from_number or defaults.from_number,
        agent_id=request.agent_id or defaults.agent_id,
        agent_version=request.agent_version,
        dynamic_variables=request.dynamic_variables,
        metadata=request.metadata,
        external_id=request.external_id,
        campaign=request.campaign,
        time_zone=request.time_zone,
        not_before=request.not_before,
        expires_at=request.expires_at,
        idempotency_key=key.value,
        request_hash=request_hash(raw) if key.value is not None else None,
    )


def request_hash(raw: object) -> str:
    """SHA-256 of a valid body, parsed: spaces, key order and 1 for 1.0 make no other request."""
    text = orjson.dumps(canonical(raw, 0), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()


def _circumstances(raw: Mapping[str, Any], defaults: Defaults) -> list[Fault]:
    """What is wrong with fields taken together, with the clock or with the configuration."""
    faults = []
    if raw.get("from_number") is None and defaults.from_number is None:
        detail = "name a caller number here, or set OUTDIAL_DEFAULT_FROM_NUMBER"
        faults.append(Fault("#/from_number", detail))
    expires_at = _instant(raw.get("expires_at"))
    if expires_at is not None:
        not_before = _instant(raw.get("not_before"))
        if expires_at <= time.time() * 1000:
            faults.append(Fault("#/expires_at", "must lie in the future"))
        if not_before is not None and expires_at <= not_before:
            faults.append(Fault("#/expires_at", "must lie after not_before"))
    return faults


def _instant(value: object) -> int | None:
    if value is None:
        return None
    try:
        return instant(value)
    except PydanticCustomError:
        return None

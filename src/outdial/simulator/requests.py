"""Reading what a client asks for: bodies are checked as Retell checks them."""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from outdial.simulator.poster import address
from outdial.simulator.scenarios import ENDS

METADATA_LIMIT = 50_000
TRANSCRIPT_LIMIT = 20_000_000
# From open to closed; a call may only move to the right.
_PRIVACY = ("everything", "everything_except_pii", "basic_attributes_only")
_E164 = re.compile(r"\+[1-9][0-9]{1,14}")


class ApiError(Exception):
    """A request that is refused; becomes `{"status": "error", "message": …}`."""

    def __init__(self, status: int, message: str) -> None:
        """`status` is the HTTP one."""
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class CreateCall:
    """The body of create-phone-call, checked."""

    from_number: str
    to_number: str
    idempotency_key: str | None
    agent_id: str
    agent_version: int
    metadata: dict[str, Any] | None
    variables: dict[str, str] | None
    honor_dnc: bool
    extras: dict[str, Any]
    outcome: str | None
    """Forced by the metadata key `sim_outcome`."""
    talk_ms: int | None
    """Forced by the metadata key `sim_talk_ms`."""


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a body holds; an empty body is an empty object."""
    if not body:
        return {}
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"Invalid JSON: {error}") from None
    if not isinstance(read, dict):
        raise ApiError(400, "The body must be a JSON object")
    return read


def read_create(body: bytes) -> CreateCall:
    """Check a create-phone-call body; raises ApiError 400."""
    told = json_object(body)
    from_number = _text(told, "from_number", required=True) or ""
    to_number = _text(told, "to_number", required=True) or ""
    if not _E164.fullmatch(to_number):
        raise ApiError(400, "to_number must be in E.164 format")
    if not told.get("ignore_e164_validation") and not _E164.fullmatch(from_number):
        raise ApiError(400, "from_number must be in E.164 format")
    metadata = _read_metadata(told)
    extras: dict[str, Any] = {}
    headers = _texts(told, "custom_sip_headers")
    if headers:
        extras["custom_sip_headers"] = headers
    _read_override(told.get("agent_override"), extras)
    outcome, talk_ms = _read_wishes(metadata or {}, extras)
    return CreateCall(
        from_number=from_number,
        to_number=to_number,
        idempotency_key=_text(told, "idempotency_key"),
        agent_id=_text(told, "override_agent_id") or "agent_simulated",
        agent_version=_version(told.get("override_agent_version")),
        metadata=metadata,
        variables=_texts(told, "retell_llm_dynamic_variables"),
        honor_dnc=told.get("honor_internal_dnc") is True,
        extras=extras,
        outcome=outcome,
        talk_ms=talk_ms,
    )


def read_update(body: bytes, held: bytes) -> tuple[bytes | None, bytes]:
    """New metadata (None: unchanged) and extras out of an update-call body and the held extras."""
    told, extras = json_object(body), orjson.loads(held)
    privacy = told.get("data_storage_setting")
    if privacy is not None:
        if privacy not in _PRIVACY:
            raise ApiError(400, f"data_storage_setting is one of {', '.join(_PRIVACY)}")
        now = extras.get("data_storage_setting", _PRIVACY[0])
        if _PRIVACY.index(privacy) < _PRIVACY.index(now):
            raise ApiError(400, "data_storage_setting cannot become less restrictive")
        extras["data_storage_setting"] = privacy
    attributes = told.get("custom_attributes")
    if attributes is not None:
        if not isinstance(attributes, dict):
            raise ApiError(400, "custom_attributes must be an object")
        extras["custom_attributes"] = attributes
    metadata = _read_metadata(told)
    return None if metadata is None else orjson.dumps(metadata), orjson.dumps(extras)


def _read_metadata(told: dict[str, Any]) -> dict[str, Any] | None:
    """The `metadata` of a body, at most 50 kB; None where it is not set."""
    metadata = told.get("metadata")
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise ApiError(400, "metadata must be an object")
    if len(orjson.dumps(metadata)) > METADATA_LIMIT:
        raise ApiError(400, "metadata must be at most 50kB")
    return metadata


def _text(told: dict[str, Any], name: str, *, required: bool = False) -> str | None:
    value = told.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not value:
        raise ApiError(400, f"{name} must be a non-empty string")
    return value


def _texts(told: dict[str, Any], name: str) -> dict[str, str] | None:
    value = told.get(name)
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ApiError(400, f"{name} must be an object of strings")
    return value


def _version(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ApiError(400, "override_agent_version must be a string or an integer")
    if isinstance(value, int):
        return value
    # A tag such as "latest" stands for some version; here for the first.
    return int(value) if value.isascii() and value.isdigit() else 0


def _read_override(override: object, extras: dict[str, Any]) -> None:
    if override is None:
        return
    if not isinstance(override, dict):
        raise ApiError(400, "agent_override must be an object")
    agent = override.get("agent")
    url = agent.get("webhook_url") if isinstance(agent, dict) else None
    if url is None:
        return
    try:
        address(url if isinstance(url, str) else "")
    except ValueError as error:
        raise ApiError(400, f"agent_override.agent.webhook_url {error}") from None
    extras["webhook_url"] = url


def _read_wishes(metadata: dict[str, Any], extras: dict[str, Any]) -> tuple[str | None, int | None]:
    outcome = metadata.get("sim_outcome")
    if outcome is not None and outcome not in ENDS:
        raise ApiError(400, f"metadata.sim_outcome is one of {', '.join(ENDS)}")
    talk_ms = _natural(metadata, "sim_talk_ms", 86_400_000)
    size = _natural(metadata, "sim_transcript_bytes", TRANSCRIPT_LIMIT)
    if size:
        extras["transcript_bytes"] = size
    if metadata.get("sim_unknown") is True:
        extras["unknown"] = True
    if metadata.get("sim_analysis") is False:
        extras["analysis"] = False
    if metadata.get("sim_hang") is True:
        extras["hang"] = True
    return outcome, talk_ms


def _natural(metadata: dict[str, Any], name: str, most: int) -> int | None:
    value = metadata.get(name)
    if value is None:
        return None
    # Callers whose metadata holds strings only say numbers in digits.
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:12])
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ApiError(400, f"metadata.{name} is a whole number from 0 to {most}")
    return value

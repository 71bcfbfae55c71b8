"""The fields of a call request: what each may hold, and the one line that says so.

No field may hold U+0000: PostgreSQL can't store it in text, nor in JSON.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any
from zoneinfo import available_timezones

import orjson
from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from outdial.core.times import parse_rfc3339

#: Retell takes 50 kB of metadata (RETELL: "keep under 50 kB"); our own keys need some of it.
MOST_METADATA_BYTES = 49_000
#: Deeper metadata can't be written again by every JSON library on its way.
DEEPEST_METADATA = 64
#: Prefix of the keys we add to metadata ourselves.
OUR_PREFIX = "outdial_"

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


def _wrong(detail: str) -> PydanticCustomError:
    # Braces would be read as a template.
    return PydanticCustomError("outdial", "{detail}", {"detail": detail})


def _phone_number(value: str) -> str:
    if _E164.fullmatch(value) is None:
        raise _wrong("must be a phone number in E.164, such as +14155550123")
    return value


def _label(longest: int) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not value or len(value) > longest:
            raise _wrong(f"must have 1 to {longest} characters")
        if _CONTROL.search(value):
            raise _wrong("must not hold control characters")
        return value

    return check


def _agent_version(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        # In JSON 3.0 is a whole number.
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value < 2**31:
            return str(value)
    elif isinstance(value, str) and 0 < len(value) <= 64 and not _CONTROL.search(value):
        return value
    raise _wrong("must be a whole number from 0, or a text of 1 to 64 characters")


def _variable(value: str) -> str:
    if "\0" in value:
        raise _wrong("must not hold U+0000")
    return value


def _metadata_key(value: str) -> str:
    if value.startswith(OUR_PREFIX):
        raise _wrong(f"keys that start with {OUR_PREFIX} are reserved")
    return value


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    canonical(value)
    size = len(orjson.dumps(value))
    if size > MOST_METADATA_BYTES:
        raise _wrong(f"must be at most {MOST_METADATA_BYTES} bytes of JSON, is {size}")
    return value


def _time_zone(value: str) -> str:
    if value not in _zones():
        raise _wrong("must be a time zone of the IANA database, such as America/New_York")
    return value


@cache
def _zones() -> set[str]:
    return available_timezones()


def instant(value: object) -> int:
    """Milliseconds of an RFC 3339 text; `PydanticCustomError` where it is none."""
    if not isinstance(value, str):
        raise _wrong("must be a text such as 2026-11-22T16:00:00Z")
    try:
        return parse_rfc3339(value)
    except ValueError as error:
        raise _wrong(str(error)) from None


def canonical(value: Any, depth: int = 1) -> Any:  # noqa: ANN401 - JSON is any of its kinds
    """JSON with whole numbers as integers, so that 1 and 1.0 are one number, as in JSON.

    Raises `PydanticCustomError` where metadata can't be kept: U+0000, or nested too deep.
    """
    if depth > DEEPEST_METADATA and isinstance(value, dict | list):
        raise _wrong(f"must not be nested more than {DEEPEST_METADATA} deep")
    match value:
        case str():
            return _variable(value)
        case dict():
            return {_variable(key): canonical(item, depth + 1) for key, item in value.items()}
        case list():
            return [canonical(item, depth + 1) for item in value]
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case _:
            return value


def idempotency_key(value: object) -> str:
    """A key of 1 to 255 visible ASCII characters; `ValueError` otherwise."""
    if not isinstance(value, str) or _KEY.fullmatch(value) is None:
        raise ValueError("must be 1 to 255 visible ASCII characters, spaces only between them")
    return value


def _schema(**schema: object) -> WithJsonSchema:
    return WithJsonSchema(schema)


PhoneNumber = Annotated[
    str,
    AfterValidator(_phone_number),
    _schema(type="string", pattern=r"^\+[1-9][0-9]{6,14}$", examples=["+14155550123"]),
]
#: `_CONTROL` and U+0000 as JSON Schema says that they are not to be there.
_PRINTED = r"^[^\u0000-\u001f\u007f]*$"
_STORED = r"^[^\u0000]*$"


def _text(longest: int) -> dict[str, object]:
    return {"type": "string", "minLength": 1, "maxLength": longest, "pattern": _PRINTED}


Id = Annotated[str, AfterValidator(_label(255)), _schema(**_text(255))]
Label = Annotated[str, AfterValidator(_label(128)), _schema(**_text(128))]
AgentVersion = Annotated[
    str,
    BeforeValidator(_agent_version),
    _schema(
        anyOf=[
            _text(64),
            {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
        ]
    ),
]
Variables = Annotated[
    dict[Annotated[str, AfterValidator(_variable)], Annotated[str, AfterValidator(_variable)]],
    _schema(
        type="object",
        propertyNames={"pattern": _STORED},
        additionalProperties={"type": "string", "pattern": _STORED},
    ),
]
Metadata = Annotated[
    dict[Annotated[str, AfterValidator(_metadata_key)], Any], AfterValidator(_metadata)
]
TimeZone = Annotated[
    str, AfterValidator(_time_zone), _schema(type="string", examples=["America/New_York"])
]
Instant = Annotated[int, BeforeValidator(instant), _schema(type="string", format="date-time")]

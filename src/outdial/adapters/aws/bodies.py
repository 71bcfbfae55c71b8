"""Bodies as SQS takes them: characters of XML, never empty, and a MiB with their attributes."""

import base64
import hashlib
import re
import zlib
from collections.abc import Mapping
from typing import Any

from outdial.ports.queue import MAX_MESSAGE_BYTES

Attributes = Mapping[str, Mapping[str, Any]]

_FOREIGN = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_GROUP = re.compile("[!-~]{1,128}")
#: The attribute that says how a body was packed, and the one way there is: all of it is ASCII, and
#: text that was compressed before comes out no larger.
_PACKED, _HOW = "encoding", "zlib+base85"
_LONGEST_TEXT = 2000


def pack(body: str, told: Mapping[str, str]) -> tuple[str, Attributes]:
    """The body to send, and `told` as attributes; packed where SQS would not take it as it is."""
    attributes = {name: _string(value) for name, value in told.items()}
    if body and not _FOREIGN.search(body) and size_of(body, attributes) <= MAX_MESSAGE_BYTES:
        return body, attributes
    packed = base64.b85encode(zlib.compress(body.encode())).decode()
    return packed, {**attributes, _PACKED: _string(_HOW)}


def unpack(body: str, attributes: Attributes) -> str:
    """What was sent."""
    if attributes.get(_PACKED, {}).get("StringValue") != _HOW:
        return body
    return zlib.decompress(base64.b85decode(body)).decode()


def size_of(body: str, attributes: Attributes) -> int:
    """Bytes as SQS counts them: names, types and values of attributes too."""
    told = sum(
        len(name) + len(each["DataType"]) + len(each["StringValue"].encode())
        for name, each in attributes.items()
    )
    return told + (len(body) if body.isascii() else len(body.encode()))


def text(value: str) -> str:
    """`value` as an attribute may hold it."""
    return _FOREIGN.sub("\ufffd", value)[:_LONGEST_TEXT] or "-"


def group_id(group: str) -> str:
    """A message group's name as SQS takes it; another one for every group."""
    if _GROUP.fullmatch(group):
        return group
    return hashlib.sha256(group.encode("utf-8", "surrogatepass")).hexdigest()


def _string(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}

"""JSON from outside: nothing in it stops a stage, and what is kept fits everywhere."""

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outdial.core.lenient_json import MAX_DEPTH, clean, decode_object, number, storable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON, max_size=4))
def test_reads_what_json_reads(value: dict[str, Any]) -> None:
    """An object that the standard library writes is read as it reads it."""
    text = json.dumps(value)
    assert json.dumps(decode_object(text.encode())) == json.dumps(json.loads(text))


@given(st.binary())
def test_total(body: bytes) -> None:
    """No bytes make it raise."""
    decoded = decode_object(body)
    assert decoded is None or isinstance(decoded, dict)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"event"',
        b'{"a":1}}',
        b'{"a":"\\',
        b"\xff{}",
        b"[" * 100_000,
        '{"a":1}'.encode("utf-16"),
    ],
)
def test_no_object(body: bytes) -> None:
    """What is no JSON object in UTF-8 is None."""
    assert decode_object(body) is None


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a":', "}"), ('[{"b":"]"},', "]")])
def test_depth(opened: str, closed: str) -> None:
    """An object nested a hundred thousand deep is read, with what lies too deep as null."""
    deep = opened * 100_000 + "1" + closed * 100_000
    decoded = decode_object(f'{{"event":"call_ended","x":{deep},"y":"[\\"{{"}}'.encode())
    assert decoded is not None
    assert decoded["event"] == "call_ended"
    assert decoded["y"] == '["{'


def test_moderate_depth_is_kept() -> None:
    """What people nest is read as it is."""
    deep = "[" * (MAX_DEPTH - 1) + "7" + "]" * (MAX_DEPTH - 1)
    decoded = decode_object(f'{{"x":{deep}}}'.encode())
    assert json.dumps(decoded) == f'{{"x": {deep}}}'


def test_digits() -> None:
    """Integers of any length are read; those that Python would refuse, as floats."""
    decoded = decode_object(b'{"long":' + b"9" * 5000 + b',"short":12,"minus":-3}')
    assert decoded == {"long": math.inf, "short": 12, "minus": -3}


def test_a_byte_order_mark_is_passed_over() -> None:
    """A body that begins with a BOM is read."""
    assert decode_object(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


def test_numbers() -> None:
    """A number is finite and no boolean."""
    assert number(2) == 2.0
    assert number(-0.5) == -0.5
    for no_number in (True, "2", None, math.nan, math.inf, -math.inf, 10**400):
        assert number(no_number) is None


def test_clean() -> None:
    """NUL and halves of surrogate pairs are replaced, all else stays."""
    assert clean("a\0b\ud800c é 😀") == "a\ufffdb\ufffdc é 😀"


@given(JSON)
def test_storable_fits_everywhere(value: object) -> None:
    """What is kept can be written by a strict encoder and as text without NUL."""
    stored = storable(value)
    json.dumps(stored, allow_nan=False)
    # A backslash of the text itself is written as two.
    assert b"\\u0000" not in orjson.dumps(stored).replace(b"\\\\", b"")


@given(st.dictionaries(st.text("abc"), st.lists(st.integers(-9, 9)) | st.text("é😀x")))
def test_storable_keeps_what_fits(value: dict[str, Any]) -> None:
    """Ordinary JSON is kept as it is."""
    assert storable(value) == value


def test_storable_oddities() -> None:
    """Too deep, too large or of another world: null; integers over 64 bits: floats."""
    deep: Any = 1
    for _ in range(MAX_DEPTH + 5):
        deep = [deep]
    assert orjson.dumps(storable(deep)) == b"[" * MAX_DEPTH + b"null" + b"]" * MAX_DEPTH
    odd = {"big": 2**70, "nan": math.nan, "set": {1}, "flag": True, "none": None, 5: "key"}
    assert storable(odd) == {
        "big": float(2**70),
        "nan": None,
        "set": None,
        "flag": True,
        "none": None,
    }

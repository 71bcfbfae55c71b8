"""The fast reader of webhooks tells what the lenient one tells, of every body."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outdial.core.lenient_json import decode_object
from outdial.core.retell_events import event_of, parse, retell_call_id_of
from outdial.provider_json import decode_head, decode_webhook
from tests.properties.hostile_requests import Hostile

EVENTS = sorted((Path(__file__).parents[1] / "events").iterdir())
KEPT = b'{"event": "call_analyzed", "call": {"call_id": "c", "call_analysis": {"custom": %s}}}'
SKIPPED = b'{"event": "call_analyzed", "call": {"call_id": "c", "words": %s}}'
ODD = [
    b'"\\ud800"',
    b'"\\x"',
    b'"\x01"',
    b'"\xff"',
    b"NaN",
    b"1e999",
    b"01",
    b"1.",
    b"-",
    b"tru",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"9" * 5_000,
    b"[" * 500 + b"]" * 500,
    b"[" * 100_000 + b"]" * 100_000,
    b"1} x",
]
WHOLE = [
    b"",
    b"[]",
    b"null",
    b'{"event": "x"} y',
    b'\xef\xbb\xbf{"event": "x"}',
    b'{"event": "x", "event": "y", "call": {"call_id": "c"}, "call": {"call_id": "d"}}',
    b'{"event": "x", "call": null}',
    b'{"event": "x", "call": {"call_id": "c", "latency": 5, "call_cost": []}}',
    b'{"event": "x", "call": {"duration_ms": 1e400, "start_timestamp": 1.5e3}}',
]


def assert_same(body: bytes) -> None:
    """Both readers say the same of it."""
    lenient = decode_object(body)
    head, webhook = decode_head(body), decode_webhook(body)
    if lenient is None or head is None or webhook is None:
        assert (lenient, head, webhook) == (None, None, None), body
    else:
        assert event_of(head) == event_of(lenient), body
        assert retell_call_id_of(head) == retell_call_id_of(lenient), body
        # As text, for NaN is not even itself.
        assert repr(parse(webhook)) == repr(parse(lenient)), body


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_recorded_events(path: Path) -> None:
    """As Retell tells them, and as it may tell them one day."""
    assert_same(path.read_bytes())


def test_only_what_is_used_is_built() -> None:
    """Of the transcript's four forms one; the door needs two names only."""
    body = (Path(__file__).parents[1] / "events" / "call_analyzed.json").read_bytes()
    webhook, lenient = decode_webhook(body), decode_object(body)
    assert webhook is not None
    assert lenient is not None
    assert webhook["call"].keys() < lenient["call"].keys()
    assert "transcript_object" not in webhook["call"]
    call_id = lenient["call"]["call_id"]
    assert decode_head(body) == {"event": "call_analyzed", "call": {"call_id": call_id}}


@pytest.mark.parametrize(
    "body", [*(KEPT % odd for odd in ODD), *(SKIPPED % odd for odd in ODD), *WHOLE]
)
def test_odd_bodies(body: bytes) -> None:
    """Nothing that only one of the two would take, or take otherwise."""
    assert_same(body)


def test_hostile_bodies() -> None:
    """The maker of the webhook entry's enemies, here too."""
    hostile = Hostile(20261123)
    bodies = [hostile.body() for _ in range(5_000)]
    for body in bodies:
        assert_same(body)
    assert sum(decode_webhook(body) is not None for body in bodies) > 1_000


FIELDS: list[str] = sorted(
    {name for path in EVENTS for name in json.loads(path.read_bytes())["call"]}
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["e2e", "p50", "combined_cost", "in_voicemail", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@given(
    event=st.sampled_from(["call_started", "call_ended", "call_analyzed"]) | JSON,
    call=st.dictionaries(st.sampled_from(FIELDS), JSON) | JSON,
    timestamp=JSON,
)
def test_any_value_in_any_field(event: Any, call: Any, timestamp: Any) -> None:
    """Every field that the parser reads is read, and one of another type is absent in both."""
    told = {"event": event, "call": call, "event_timestamp": timestamp}
    assert_same(json.dumps(told).encode())

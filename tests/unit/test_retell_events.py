"""Retell's webhooks as they are told (`tests/events`), and as nobody expects them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outdial.core.call import Heard, HeardAnalyzed, HeardEnded, HeardStarted
from outdial.core.lenient_json import decode_object
from outdial.core.outcome import Outcome
from outdial.core.retell_events import (
    CallDetails,
    ProviderEvent,
    body_sha256,
    call_details,
    event_of,
    parse,
    retell_call_id_of,
)

EVENTS = Path(__file__).parents[1] / "events"
T = 1_763_827_200_000
CALL_ID = "call_8f0c1f3a7be94d3c9d1c6a2e5b7f4a10"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


def recorded(name: str) -> ProviderEvent:
    """A recorded event, parsed."""
    payload = decode_object((EVENTS / f"{name}.json").read_bytes())
    assert payload is not None
    return parse(payload)


def details_of(name: str) -> CallDetails:
    """The details of a recorded `call_analyzed`."""
    details = recorded(name).details
    assert details is not None
    return details


@pytest.mark.parametrize(
    ("name", "heard"),
    [
        ("call_started", HeardStarted()),
        ("call_ended", HeardEnded()),
        ("call_analyzed", HeardAnalyzed(connected=True)),
        ("call_analyzed_voicemail", HeardAnalyzed(connected=True)),
        ("call_analyzed_no_answer", HeardAnalyzed(connected=False)),
        ("call_analyzed_over_limit", HeardAnalyzed(connected=False, over_limit=True)),
        ("call_analyzed_unheard_of", HeardAnalyzed(connected=False)),
        ("transfer_started", None),
    ],
)
def test_what_is_heard(name: str, heard: Heard | None) -> None:
    """Each event means one thing to the ledger, or nothing."""
    assert recorded(name).heard == heard


def test_whose_event_it_is() -> None:
    """Our keys in the metadata say which deployment, call and attempt an event is about."""
    event = recorded("call_started")
    assert event == ProviderEvent(
        event="call_started",
        retell_call_id=CALL_ID,
        event_timestamp=T + 40,
        deployment="019ab2f0-0000-7000-8000-000000000001",
        call_id="019ab2f0-0000-7000-8000-000000000002",
        attempt_id="5f3a1f2e-0000-5000-8000-000000000003",
        started_at=T,
        heard=HeardStarted(),
    )


def test_a_call_we_did_not_place() -> None:
    """Without metadata an event is nobody's of ours, and is read all the same."""
    event = recorded("call_analyzed_foreign")
    assert (event.deployment, event.call_id, event.attempt_id) == (None, None, None)
    assert event.retell_call_id == "call_inbound_77"
    assert event.details is not None


def test_the_details_of_a_conversation() -> None:
    """Everything that we keep of an analysed call is read, cents as dollars."""
    details = details_of("call_analyzed")
    assert details.transcript is not None
    assert details.transcript.startswith("Agent: Hi Zoë")
    assert {name: getattr(details, name) for name in details.__slots__ if name != "transcript"} == {
        "call_status": "ended",
        "disconnection_reason": "user_hangup",
        "outcome": Outcome.ANSWERED,
        "started_at": T,
        "ended_at": T + 61_000,
        "duration_ms": 61_000,
        "call_successful": True,
        "user_sentiment": "Positive",
        "in_voicemail": False,
        "call_summary": "Zoë takes the interview on Tuesday at ten.",
        "custom_analysis_data": {"slot": "Tuesday 10:00", "interest": 5},
        "cost_usd": 0.125,
        "recording_url": "https://recordings.example/call_8f0c1f3a/recording.wav",
        "agent_id": "agent_oBeDLoLOeuAbiuaMFXRtDOLriTJ5tSxD",
        "agent_name": "Interview scheduler",
        "agent_version": "3",
        "latency_p50_ms": 812.5,
    }


def test_the_details_of_a_dial_that_nobody_answered() -> None:
    """A call that never connected has an outcome and a cost, and no times."""
    details = details_of("call_analyzed_no_answer")
    assert details.outcome is Outcome.NO_ANSWER
    assert (details.started_at, details.ended_at, details.duration_ms) == (None, None, 0)
    assert (details.cost_usd, details.call_successful, details.transcript) == (0.0, False, None)


def test_a_voicemail() -> None:
    """A machine that answered is a voicemail, and connected."""
    assert details_of("call_analyzed_voicemail").outcome is Outcome.VOICEMAIL


def test_only_an_analysis_has_details() -> None:
    """`call_ended` changes nothing, and its details are not read."""
    assert recorded("call_ended").details is None
    assert recorded("call_started").details is None


def test_what_nobody_has_heard_of() -> None:
    """New enum values are kept, fields of a surprising type count as absent."""
    details = details_of("call_analyzed_unheard_of")
    assert (details.call_status, details.disconnection_reason) == ("paused", "carrier_eclipse")
    assert details.outcome is Outcome.ERROR
    assert (details.user_sentiment, details.agent_version) == ("Bewildered", "v12")
    for name in (
        "started_at",
        "duration_ms",
        "cost_usd",
        "latency_p50_ms",
        "call_successful",
        "in_voicemail",
        "custom_analysis_data",
    ):
        assert getattr(details, name) is None, name
    assert recorded("call_analyzed_unheard_of").event_timestamp == 0


@pytest.mark.parametrize(
    ("call", "connected"),
    [
        ({"call_status": "ended"}, True),
        ({"call_status": "error", "start_timestamp": T}, True),
        ({"call_status": "ongoing", "start_timestamp": T}, True),
        ({"call_status": "error", "duration_ms": 5}, True),
        ({"call_status": "error", "duration_ms": 0}, False),
        ({"call_status": "not_connected"}, False),
        ({"call_status": "registered"}, False),
        ({}, False),
    ],
)
def test_what_says_that_a_call_connected(call: dict[str, Any], *, connected: bool) -> None:
    """Status `ended`, a start or talk time says that the attempt connected; nothing else does."""
    assert parse({"event": "call_analyzed", "call": call}).heard == HeardAnalyzed(connected)


def test_over_the_limit_nothing_connected() -> None:
    """A call ended for want of a line did not ring, whatever times it was given."""
    call = {
        "call_status": "error",
        "disconnection_reason": "concurrency_limit_reached",
        "start_timestamp": T,
    }
    heard = parse({"event": "call_analyzed", "call": call}).heard
    assert heard == HeardAnalyzed(connected=False, over_limit=True)


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        (0, "0"),
        (12, "12"),
        (3.0, "3"),
        ("v2", "v2"),
        ("", None),
        (True, None),
        (-1, None),
        (10**400, None),
    ],
)
def test_agent_versions(given_: object, kept: str | None) -> None:
    """A version is a number or a name, and kept as text."""
    assert call_details({"agent_version": given_}).agent_version == kept


@pytest.mark.parametrize("time", [-1, 2**53 + 2, 10**400, "1763827200000", True, None, [], 1e300])
def test_times_that_are_none(time: object) -> None:
    """What no column can hold is no time."""
    assert call_details({"start_timestamp": time}).started_at is None


def test_text_that_no_database_stores() -> None:
    """NUL and halves of surrogate pairs are replaced wherever we keep text."""
    payload = json.loads(
        r'{"event":"call_analyzed","call":{"call_id":"call\u0000","transcript":"\ud800!",'
        r'"call_analysis":{"custom_analysis_data":{"\u0000":["\udfff"]}}}}'
    )
    event = parse(payload)
    assert event.retell_call_id == "call\ufffd"
    assert event.details is not None
    assert event.details.transcript == "\ufffd!"
    assert event.details.custom_analysis_data == {"\ufffd": ["\ufffd"]}


def test_names_have_an_end() -> None:
    """Ids and event names are cut where no index would take them."""
    payload = {"event": "e" * 9000, "call": {"call_id": "c" * 9000}}
    assert (len(event_of(payload)), len(retell_call_id_of(payload))) == (255, 255)


def test_the_hash_is_of_the_raw_bytes() -> None:
    """The identity of an event hashes the body as it came."""
    assert body_sha256("é".encode()) == hashlib.sha256(b"\xc3\xa9").hexdigest()


_FIELDS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        (
            "call_id",
            "call_status",
            "metadata",
            "start_timestamp",
            "end_timestamp",
            "duration_ms",
            "disconnection_reason",
            "call_analysis",
            "call_cost",
            "latency",
            "transcript",
            "agent_version",
        ),
        JSON,
    ),
)


@given(
    st.dictionaries(st.text(), JSON, max_size=3)
    | st.fixed_dictionaries(
        {
            "event": st.sampled_from(["call_started", "call_ended", "call_analyzed"]) | JSON,
            "call": _FIELDS | JSON,
        },
        optional={"event_timestamp": JSON},
    )
)
def test_parsing_is_total(payload: dict[str, Any]) -> None:
    """No JSON object makes the parser raise, and what it gives is of the types it says."""
    event = parse(payload)
    assert isinstance(event.event, str)
    assert isinstance(event.retell_call_id, str)
    assert event.event_timestamp >= 0
    assert (event.details is not None) == (event.event == "call_analyzed")

"""The envelopes of both queues."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outdial.core.messages import (
    VERSION,
    CallHint,
    EventMessage,
    MalformedMessageError,
    compress,
    decode_call_hint,
    decode_event,
    encode_call_hint,
    encode_event,
    open_payload,
    parking_key,
)
from outdial.ports.parking import check_key

TEXT = st.text(st.characters(codec="utf-8"))
MESSAGES = st.builds(
    EventMessage,
    retell_call_id=TEXT,
    event=TEXT,
    sha256=TEXT,
    received_at=st.integers(min_value=0, max_value=2**53),
    encoding=st.sampled_from(["plain", "zlib", "parked"]),
    payload=TEXT,
)
MESSAGE = EventMessage("call_1", "call_ended", "f" * 64, 1, "plain", "{}")


@given(TEXT)
def test_a_call_hint_round_trips(call_id: str) -> None:
    """A hint reads as it was written."""
    assert decode_call_hint(encode_call_hint(CallHint(call_id))) == CallHint(call_id)


@given(MESSAGES)
def test_an_event_round_trips(message: EventMessage) -> None:
    """An event message reads as it was written."""
    assert decode_event(encode_event(message)) == message


@given(st.binary())
def test_a_compressed_body_round_trips(body: bytes) -> None:
    """Compressed bytes open to the same bytes."""
    message = EventMessage("c", "e", "f", 1, "zlib", compress(body))
    assert open_payload(message) == body


def test_a_plain_body_opens() -> None:
    """A plain payload is the body as UTF-8."""
    message = EventMessage("c", "e", "f", 1, "plain", '{"x":"é"}')
    assert open_payload(message) == '{"x":"é"}'.encode()


@pytest.mark.parametrize(
    ("encoding", "payload"),
    [
        ("zlib", "not base64!"),
        ("zlib", "é"),
        ("zlib", "bm90IHpsaWI="),
        ("zlib", compress(b"cut short")[:8]),
        ("plain", "\ud800"),
        ("parked", "events/key"),
    ],
)
def test_a_payload_that_does_not_open(encoding: str, payload: str) -> None:
    """A broken payload, and one that lies elsewhere, is malformed and nothing else."""
    message = decode_event(
        json.dumps(json.loads(encode_event(MESSAGE)) | {"encoding": encoding, "payload": payload})
    )
    with pytest.raises(MalformedMessageError):
        open_payload(message)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"v": VERSION + 1}, "version"),
        ({"v": None}, "version"),
        ({"encoding": "gzip"}, "encoding"),
        ({"encoding": None}, "encoding"),
        ({"received_at": "now"}, "received_at"),
        ({"received_at": True}, "received_at"),
        ({"retell_call_id": 5}, "retell_call_id"),
        ({"event": None}, "event"),
        ({"sha256": []}, "sha256"),
        ({"payload": {}}, "payload"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, object], named: str) -> None:
    """What is wrong with an envelope is said by the field's name."""
    with pytest.raises(MalformedMessageError, match=named):
        decode_event(json.dumps(json.loads(encode_event(MESSAGE)) | change))


@pytest.mark.parametrize("body", ["", "no", "[]", "null", '"v"', "[" * 100_000, "1" * 5000])
def test_what_is_no_envelope(body: str) -> None:
    """Anything but a JSON object is malformed, however it is broken."""
    for decode in (decode_call_hint, decode_event):
        with pytest.raises(MalformedMessageError):
            decode(body)


@given(st.text() | st.dictionaries(st.text(), st.none() | st.integers()).map(json.dumps))
def test_decoding_is_total(body: str) -> None:
    """No text makes a decoder raise anything else."""
    for decode in (decode_call_hint, decode_event):
        with pytest.raises(MalformedMessageError):
            decode(body)


@given(st.text(), st.text(), st.text("0123456789abcdef", min_size=64, max_size=64))
def test_a_parking_key_is_one(call_id: str, event: str, sha256: str) -> None:
    """Whatever the names, the key is one that every parking takes, and bodies do not share it."""
    key = check_key(parking_key(call_id, event, sha256))
    assert sha256 in key


def test_a_parking_key_can_be_read() -> None:
    """The key names call and event as they are."""
    assert parking_key("call_8f0c", "call_ended", "ab") == "events/call_8f0c/call_ended-ab.json"
    assert parking_key("", "", "ab") == "events/none/none-ab.json"


def test_an_event_holds_only_what_every_queue_takes() -> None:
    """The two characters that JSON leaves as they are and SQS refuses are escaped."""
    payload = '{"transcript":"a\ufffeb\uffffc\x00"}'
    message = EventMessage("call_1", "call_ended", "0" * 64, 1, "plain", payload)
    text = encode_event(message)
    assert not {"\ufffe", "\uffff", "\x00"} & set(text)
    assert decode_event(text) == message

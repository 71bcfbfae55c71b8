"""Facts about webhooks: what is told, signed how, tried how often, and spoiled on demand."""

import time

import pytest
import retell

from outdial.core.signature import HEADER, Verdict, verify
from tests.simulator.running import KEY, Caller, Launch, Receiver

RIGHT_ORDER = ["call_started", "call_ended", "call_analyzed"]
ANSWERED, VOICEMAIL, NO_ANSWER = "+15005550101", "+15005550102", "+15005550103"


def verdicts(receiver: Receiver) -> list[Verdict]:
    """What our check says of each request."""
    now_ms = time.time_ns() // 1_000_000
    return [verify(headers.get(HEADER), body, [KEY], now_ms) for headers, body in receiver.requests]


async def test_answered_call(caller: Caller, receiver: Receiver) -> None:
    """An answered call tells started, ended and analyzed, each with more than the one before."""
    call_id = await caller.dial(
        ANSWERED, metadata={"job": "7"}, retell_llm_dynamic_variables={"name": "Zoë"}
    )
    started, ended, analyzed = await receiver.count(3)
    assert receiver.names == RIGHT_ORDER
    for event in (started, ended, analyzed):
        assert event["call"]["call_id"] == call_id
        assert event["call"]["metadata"] == {"job": "7"}
        assert abs(event["event_timestamp"] - time.time() * 1000) < 60_000
    assert started["call"]["call_status"] == "ongoing"
    assert "transcript" not in started["call"]
    assert "disconnection_reason" not in started["call"]
    assert ended["call"]["call_status"] == "ended"
    assert "Zoë" in ended["call"]["transcript"]
    assert ended["call"]["transcript_object"][0]["words"]
    assert ended["call"]["transcript_with_tool_calls"]
    assert "call_analysis" not in ended["call"]
    assert analyzed["call"]["call_analysis"]["call_successful"] is True
    assert analyzed["call"]["call_analysis"]["in_voicemail"] is False
    without = {key: value for key, value in analyzed["call"].items() if key != "call_analysis"}
    assert without == ended["call"]


async def test_durations_are_told_unscaled(caller: Caller, receiver: Receiver) -> None:
    """At any speed the told duration is the whole one and ends now; the cost follows from it."""
    await caller.dial(ANSWERED, metadata={"sim_talk_ms": 61_000})
    started, ended, _ = await receiver.count(3)
    call = ended["call"]
    assert call["duration_ms"] == 61_000
    assert call["end_timestamp"] - call["start_timestamp"] == 61_000
    assert call["start_timestamp"] == started["call"]["start_timestamp"]
    assert abs(call["end_timestamp"] - time.time() * 1000) < 20_000
    cost = call["call_cost"]
    assert cost["total_duration_seconds"] == 61
    products = sum(product["cost"] for product in cost["product_costs"])
    assert cost["combined_cost"] == pytest.approx(products, abs=0.01)


async def test_unconnected_call(caller: Caller, receiver: Receiver) -> None:
    """A call that never connects tells no start, but its end and an unsuccessful analysis."""
    await caller.dial(NO_ANSWER)
    ended, analyzed = await receiver.count(2)
    assert receiver.names == RIGHT_ORDER[1:]
    for event in (ended, analyzed):
        call = event["call"]
        assert (call["call_status"], call["duration_ms"]) == ("not_connected", 0)
        assert call["disconnection_reason"] == "dial_no_answer"
        assert (call["transcript"], call["transcript_object"]) == ("", [])
        assert not {"start_timestamp", "end_timestamp", "recording_url"} & set(call)
        assert "metadata" not in call
    assert analyzed["call"]["call_analysis"]["call_successful"] is False


async def test_voicemail(caller: Caller, receiver: Receiver) -> None:
    """Voicemail starts, and ends with `voicemail_reached`."""
    await caller.dial(VOICEMAIL)
    events = await receiver.count(3)
    assert receiver.names == RIGHT_ORDER
    assert events[1]["call"]["disconnection_reason"] == "voicemail_reached"
    assert events[1]["call"]["call_status"] == "ended"
    assert events[2]["call"]["call_analysis"]["in_voicemail"] is True


async def test_sdk_accepts_the_signatures(caller: Caller, receiver: Receiver) -> None:
    """The SDK's own check accepts every webhook, non-ASCII transcripts included."""
    await caller.dial(ANSWERED, retell_llm_dynamic_variables={"name": "Бьёрн 🎉"})
    await receiver.count(3)
    client = retell.Retell(api_key=KEY)
    for headers, body in receiver.requests:
        assert client.verify(body.decode(), KEY, headers[HEADER])  # type: ignore[no-untyped-call]
    client.close()
    assert verdicts(receiver) == [Verdict.GOOD] * 3


async def test_configured_address(launch: Launch, receiver: Receiver) -> None:
    """Without an address of its own a call's events go to the configured one."""
    caller = Caller(launch(webhook_url=receiver.url), receiver)
    await caller.retell.call.create_phone_call(from_number=ANSWERED, to_number=ANSWERED)
    await receiver.count(3)
    await caller.close()


async def test_no_address(caller: Caller) -> None:
    """Without any address nothing is sent, and the call goes its way."""
    await caller.retell.call.create_phone_call(from_number=ANSWERED, to_number=ANSWERED)
    told = await caller.settled()
    assert told["ended"] == 1
    assert told["webhooks"]["sent"] == 0


async def test_refused_webhook_is_tried_again(caller: Caller, receiver: Receiver) -> None:
    """Another answer than 2xx is tried again, with the same bytes and a signature of its own."""
    receiver.statuses = [500, 404, 302]
    await caller.dial(NO_ANSWER)
    await receiver.until(lambda got: got.names.count("call_analyzed") > 0 and len(got.names) >= 5)
    told = await caller.settled()
    bodies = {body for _, body in receiver.requests}
    assert len(bodies) == 2
    assert verdicts(receiver) == [Verdict.GOOD] * 5
    assert told["webhooks"] == {
        "sent": 5,
        "acknowledged": 2,
        "failed": 3,
        "lost": 0,
        "dropped": 0,
        "pending": 0,
    }


async def test_four_tries_then_lost(caller: Caller, receiver: Receiver) -> None:
    """After four refused tries a webhook is lost for good; get-call still tells the end."""
    receiver.statuses = [500] * 8
    call_id = await caller.dial(NO_ANSWER)
    await receiver.count(8)
    told = await caller.settled()
    assert told["webhooks"]["lost"] == 2
    assert len(receiver.requests) == 8
    call = await caller.retell.call.retrieve(call_id)
    assert call.call_status == "not_connected"
    assert call.call_analysis is not None


async def test_slow_receiver(launch: Launch, receiver: Receiver) -> None:
    """A receiver that does not answer in time is asked again, and holds up no later event."""
    caller = Caller(launch(webhook_timeout=0.2), receiver)
    receiver.statuses = [0]
    await caller.dial(ANSWERED)
    await receiver.count(4)
    await caller.settled()
    assert sorted(receiver.names) == sorted([*RIGHT_ORDER, "call_started"])
    await caller.close()


async def test_drop(caller: Caller, receiver: Receiver) -> None:
    """A dropped webhook never comes; get-call and list-calls know the end all the same."""
    await caller.faults(drop=1)
    call_id = await caller.dial(ANSWERED, metadata={"a": "b"})
    told = await caller.settled()
    assert told["webhooks"]["dropped"] == 3
    assert receiver.requests == []
    assert (await caller.retell.call.retrieve(call_id)).call_status == "ended"
    (listed,) = (await caller.retell.call.list()).items
    assert listed.call_status == "ended"


async def test_duplicate(caller: Caller, receiver: Receiver) -> None:
    """A duplicate is the same event with the same bytes, once more."""
    await caller.faults(duplicate=1)
    await caller.dial(NO_ANSWER)
    await receiver.count(4)
    assert sorted(receiver.names) == sorted(RIGHT_ORDER[1:] * 2)
    assert len({body for _, body in receiver.requests}) == 2


async def test_reorder(caller: Caller, receiver: Receiver) -> None:
    """Reordered, an event comes after the one that should follow it."""
    await caller.faults(reorder=1)
    await caller.dial(ANSWERED, metadata={"sim_talk_ms": 400_000})
    await receiver.count(3)
    assert receiver.names != RIGHT_ORDER
    assert sorted(receiver.names) == sorted(RIGHT_ORDER)


async def test_delay(caller: Caller, receiver: Receiver) -> None:
    """A delayed webhook comes seconds after its event, told with the event's own time."""
    await caller.faults(delay=1)
    await caller.dial(NO_ANSWER)
    (event,) = await receiver.count(1)
    assert time.time() * 1000 - event["event_timestamp"] >= 900


async def test_bad_signature(caller: Caller, receiver: Receiver) -> None:
    """Bad signatures are bad, stale or missing; the event is told in the same bytes each time."""
    await caller.faults(bad_signature=1)
    receiver.statuses = [401] * 40
    for n in range(4):
        await caller.dial(f"+1415555012{n}", metadata={"sim_outcome": "busy"})
    await caller.settled()
    assert set(verdicts(receiver)) == {Verdict.BAD, Verdict.STALE, Verdict.MISSING}


@pytest.mark.parametrize("number", [ANSWERED, NO_ANSWER])
async def test_webhook_first(caller: Caller, receiver: Receiver, number: str) -> None:
    """With `webhook_first` an event is there before the create is answered."""
    await caller.faults(webhook_first=1)
    call_id = await caller.dial(number)
    assert receiver.requests
    assert receiver.events[0]["call"]["call_id"] == call_id


async def test_unknown_things(caller: Caller, receiver: Receiver) -> None:
    """`sim_unknown` brings an event, enum values and a field that nobody knows."""
    await caller.dial(ANSWERED, metadata={"sim_unknown": True})
    events = await receiver.count(4)
    assert set(receiver.names) - set(RIGHT_ORDER) == {"call_daydreamed"}
    last = next(event["call"] for event in events if event["event"] == "call_analyzed")
    assert last["disconnection_reason"] == "teleported"
    assert last["call_analysis"]["user_sentiment"] == "Elated"
    assert "quantum_confidence" in last


async def test_megabytes(caller: Caller, receiver: Receiver) -> None:
    """`sim_transcript_bytes` makes a transcript of megabytes, signed as any other."""
    await caller.dial(ANSWERED, metadata={"sim_transcript_bytes": 300_000})
    await receiver.count(3)
    transcript = receiver.events[1]["call"]["transcript"]
    assert len(transcript) >= 300_000
    assert len(receiver.requests[1][1]) > 3_000_000
    assert verdicts(receiver) == [Verdict.GOOD] * 3


async def test_analysis_again(caller: Caller, receiver: Receiver) -> None:
    """Running the analysis again tells `call_analyzed` once more, with other content."""
    call_id = await caller.dial(ANSWERED)
    await receiver.count(3)
    await caller.settled()
    await caller.retell.call.rerun_analysis(call_id)
    events = await receiver.count(4)
    assert receiver.names[3] == "call_analyzed"
    assert events[3]["event_timestamp"] > events[2]["event_timestamp"]
    assert events[3]["call"]["call_analysis"] != events[2]["call"]["call_analysis"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"explode": 1}, "lost_response"),
        ({"drop": 2}, "drop"),
        ({"drop": True}, "drop"),
        ({"drop": "1"}, "drop"),
        ({"create_status": 200}, "create_status"),
        ({"limit_mode": "maybe"}, "accept_then_end"),
        ([], "object"),
    ],
)
async def test_wrong_faults(caller: Caller, changes: object, named: str) -> None:
    """A fault that does not exist or cannot be so is 400, naming what is known."""
    if isinstance(changes, list):
        async with caller.http.post("/sim/faults", data=b"[]") as answer:
            assert answer.status == 400
        return
    status, told = await caller.post("/sim/faults", changes)
    assert status == 400
    assert named in told["message"]


async def test_faults_merge(caller: Caller) -> None:
    """Faults that are not named stay as they are; reset takes all away."""
    await caller.faults(drop=0.5)
    await caller.faults(delay=0.25)
    told = await caller.get("/sim/faults")
    assert (told["drop"], told["delay"], told["limit_mode"]) == (0.5, 0.25, "reject")
    await caller.post("/sim/reset")
    assert (await caller.get("/sim/faults"))["drop"] == 0


async def test_analysis_is_off(caller: Caller, receiver: Receiver) -> None:
    """Such a call ends and is never analysed; asking for it makes up for that."""
    call_id = await caller.dial(ANSWERED, metadata={"sim_analysis": False})
    await receiver.count(2)
    assert receiver.names == ["call_started", "call_ended"]
    told = await caller.retell.call.retrieve(call_id)
    assert (told.call_status, told.call_analysis) == ("ended", None)
    await caller.retell.call.rerun_analysis(call_id)
    events = await receiver.count(3)
    assert receiver.names[2] == "call_analyzed"
    assert events[2]["call"]["call_analysis"]["call_successful"] is True

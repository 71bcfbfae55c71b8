"""What the EventBridge sink promises besides: requests of ten, and a verdict for each event."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from outdial.adapters.aws.event_bridge import EventBridgeSink
from outdial.errors import ConfigurationError, Poison, Unavailable
from tests.aws_emulator import emulator
from tests.contract.receivers import EventBus, event_bus


@pytest.fixture
async def bus(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EventBus]:
    """A bus that answers as it is told."""
    async with event_bus(monkeypatch) as made:
        yield made


@pytest.fixture
async def sink(bus: EventBus) -> AsyncIterator[EventBridgeSink]:
    """A sink on that bus."""
    made = EventBridgeSink("voice")
    yield made
    await made.close()


def event(number: int, size: int = 0) -> bytes:
    """A CloudEvent, near enough."""
    told = {"id": str(number), "type": "voice_call.started", "data": "x" * size}
    return json.dumps(told).encode()


async def deliver(sink: EventBridgeSink, *events: bytes) -> list[BaseException | None]:
    """Deliver all at once; what became of each."""
    return await asyncio.gather(
        *(sink.deliver(str(index), each) for index, each in enumerate(events)),
        return_exceptions=True,
    )


async def test_events_that_come_together_share_requests_of_ten(
    bus: EventBus, sink: EventBridgeSink
) -> None:
    """Twenty-five events are three requests; each entry says what it is."""
    assert await deliver(sink, *(event(number) for number in range(25))) == [None] * 25
    assert sorted(len(request) for request in bus.requests) == [5, 10, 10]
    entry = bus.requests[0][0]
    assert entry["EventBusName"] == "voice"
    assert entry["Source"] == "outdial"
    assert entry["DetailType"] == "voice_call.started"


async def test_each_event_of_a_request_is_judged_by_itself(
    bus: EventBus, sink: EventBridgeSink
) -> None:
    """One that is refused, and one that came at a bad moment, hold up no other."""
    bus.codes = [None, "MalformedDetail", "InternalFailure"]
    outcomes = await deliver(sink, *(event(number) for number in range(4)))
    assert [type(each) for each in outcomes] == [type(None), Poison, Unavailable, type(None)]
    assert bus.details == [event(0), event(3)]


async def test_a_request_that_one_event_spoils_is_taken_apart(
    bus: EventBus, sink: EventBridgeSink
) -> None:
    """The others are delivered all the same."""
    bus.refusal = "ValidationException"
    assert await deliver(sink, event(1), event(2)) == [None, None]
    assert [len(request) for request in bus.requests] == [1, 1]


async def test_large_events_go_in_requests_of_their_own(
    bus: EventBus, sink: EventBridgeSink
) -> None:
    """A request has a limit in bytes too."""
    large = [event(number, 150_000) for number in range(3)]
    assert await deliver(sink, *large) == [None] * 3
    assert [len(request) for request in bus.requests] == [1, 1, 1]


async def test_a_rule_on_the_bus_gets_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the emulator: from the sink by a rule of the consumer's to its queue."""
    aws = emulator()
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    events, sqs = aws.client("events"), aws.client("sqs")
    events.create_event_bus(Name="voice-calls")
    url = aws.queue("consumer")
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    pattern = json.dumps({"source": ["outdial"], "detail-type": ["voice_call.started"]})
    events.put_rule(Name="all", EventBusName="voice-calls", EventPattern=pattern)
    target = {"Id": "queue", "Arn": arn["Attributes"]["QueueArn"]}
    events.put_targets(Rule="all", EventBusName="voice-calls", Targets=[target])
    sink = EventBridgeSink("voice-calls")
    assert (await sink.check()).endswith("event-bus/voice-calls")
    assert await deliver(sink, event(1), event(2)) == [None, None]
    await sink.close()
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5)
    details = [json.loads(message["Body"])["detail"] for message in found["Messages"]]
    assert sorted(detail["id"] for detail in details) == ["1", "2"]


async def test_a_bus_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor says so; a URL without a bus is a matter of configuration."""
    for name, value in emulator().environment.items():
        monkeypatch.setenv(name, value)
    sink = EventBridgeSink("nowhere")
    with pytest.raises(Unavailable, match="activity sink"):
        await sink.check()
    await sink.close()
    with pytest.raises(ConfigurationError, match="names no bus"):
        EventBridgeSink("")

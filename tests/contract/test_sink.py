"""What every activity sink promises the relay, the fake's among them."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from outdial.adapters.aws.event_bridge import EventBridgeSink
from outdial.adapters.memory import MemorySink
from outdial.adapters.sinks.http import HttpSink
from outdial.errors import OutdialError, Poison, Unavailable
from outdial.ports.sink import ActivitySink
from tests.contract.receivers import event_bus, http_receiver

EVENT = '{"id":"e1","data":{"metadata":{"name":"é"}}}'.encode()


@dataclass
class Case:
    """A sink with its receiver: what came there, and how to make it refuse or fail."""

    sink: ActivitySink
    bodies: Callable[[], list[bytes]]
    refuse: Callable[[], None]
    fail: Callable[[], None]


def memory() -> Case:
    """The fake."""
    sink = MemorySink()

    def raising(error: OutdialError) -> Callable[[], None]:
        async def receive(event_id: str, event: bytes) -> None:
            raise error

        return lambda: setattr(sink, "receive", receive)

    return Case(
        sink,
        lambda: [body for _, body in sink.taken],
        raising(Poison("refused")),
        raising(Unavailable("activity sink", "down")),
    )


@pytest.fixture(params=["memory", "http", "eventbridge"])
async def case(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Case]:
    """Each sink in turn."""
    if request.param == "memory":
        yield memory()
        return
    if request.param == "eventbridge":
        async with event_bus(monkeypatch) as bus:
            on_bus = EventBridgeSink("voice")
            yield Case(
                on_bus,
                lambda: bus.details,
                lambda: bus.codes.append("MalformedDetail"),
                lambda: bus.codes.append("ThrottlingException"),
            )
            await on_bus.close()
        return
    async with http_receiver() as receiver:
        sink = HttpSink(receiver.url)
        yield Case(
            sink,
            lambda: [each.body for each in receiver.requests],
            lambda: setattr(receiver, "status", 422),
            lambda: setattr(receiver, "status", 503),
        )
        await sink.close()


async def test_bytes_arrive_as_they_are(case: Case) -> None:
    """Delivering returns once the receiver has the very bytes."""
    await case.sink.deliver("e1", EVENT)
    assert case.bodies() == [EVENT]


async def test_delivering_again_is_no_error(case: Case) -> None:
    """At least once: the same event twice arrives twice, in order with the others."""
    for event_id, event in (("e1", EVENT), ("e2", b"{}"), ("e1", EVENT)):
        await case.sink.deliver(event_id, event)
    assert case.bodies() == [EVENT, b"{}", EVENT]


async def test_refusal_is_poison(case: Case) -> None:
    """A receiver that refuses this event raises `Poison`."""
    case.refuse()
    with pytest.raises(Poison):
        await case.sink.deliver("e1", EVENT)


async def test_trouble_is_unavailable(case: Case) -> None:
    """A receiver in trouble raises `Unavailable`, naming the activity sink."""
    case.fail()
    with pytest.raises(Unavailable) as caught:
        await case.sink.deliver("e1", EVENT)
    assert caught.value.dependency == "activity sink"


async def test_closing_twice_is_no_error(case: Case) -> None:
    """Closing releases what there is, used or not."""
    await case.sink.close()
    await case.sink.close()

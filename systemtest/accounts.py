"""The proof that nothing was lost, dialed twice, told twice or told in the wrong order.

Three parties are asked: the Voice API, the platform (here the simulator) and the receiver of the
activity events. None of them knows the others' books.
"""

from collections import Counter
from collections.abc import Collection

from systemtest.receiver import Event, Receiver
from systemtest.services import ENDS, Simulator, VoiceApi
from systemtest.waiting import wait_until

INITIATED = "voice_call.initiated"
STARTED = "voice_call.started"
ATTEMPT_ENDS = frozenset({"voice_call.completed", "voice_call.failed"})


def wait_until_dialed(simulator: Simulator, count: int) -> None:
    """Until so many calls were dialed by the platform's own book."""
    wait_until(f"{count} are dialed", lambda: len(simulator.dials()) >= count)


def wait_until_ended(api: VoiceApi, call_ids: Collection[str], *, seconds: float = 120) -> None:
    """Until every one of these calls has ended by the Voice API's word."""
    wanted = set(call_ids)

    def ended() -> bool:
        statuses = api.statuses()
        return all(statuses.get(call_id) in ENDS for call_id in wanted)

    wait_until(
        f"{len(wanted)} calls have ended",
        ended,
        seconds=seconds,
        progress=lambda: dict(Counter(api.statuses().values())),
    )


def wait_until_told(receiver: Receiver, call_ids: Collection[str], *, seconds: float = 120) -> None:
    """Until the receiver has heard of the end of every one of these calls."""
    wanted = set(call_ids)

    def told() -> bool:
        return wanted <= {event.call_id for event in list(receiver.events) if _ends_its_call(event)}

    wait_until(
        f"the ends of {len(wanted)} calls are told",
        told,
        seconds=seconds,
        progress=lambda: dict(Counter(event.type for event in list(receiver.events))),
    )


def _ends_its_call(event: Event) -> bool:
    """Over the platform's limit nothing rang: that attempt is over, and its call goes on."""
    return event.type in ATTEMPT_ENDS and event.data.get("reason") != "concurrency_limit_reached"


def assert_dialed_once(simulator: Simulator, call_ids: Collection[str]) -> None:
    """Each of these calls rang once by the platform's own book, and nothing else did."""
    dials = simulator.dials()
    by_call = Counter(dial["metadata"]["outdial_call_id"] for dial in dials if dial["rang"])
    assert by_call == Counter(call_ids)
    # What was refused for a limit did not ring; even so no attempt was placed twice.
    by_attempt = Counter(dial["metadata"]["outdial_attempt_id"] for dial in dials)
    assert set(by_attempt.values()) == {1}
    assert len({dial["idempotency_key"] for dial in dials}) == len(dials)


def assert_told_once(receiver: Receiver, call_ids: Collection[str]) -> None:
    """Each initiated attempt has one `initiated` and one end, in order, without a gap."""
    calls = receiver.by_call()
    assert sorted(calls) == sorted(call_ids)
    for events in calls.values():
        _assert_in_order(events)


def _assert_in_order(events: list[Event]) -> None:
    assert [event.sequence for event in events] == list(range(1, len(events) + 1)), events
    for attempt in {event.attempt for event in events}:
        types = [event.type for event in events if event.attempt == attempt]
        assert types[0] == INITIATED, events
        assert types[-1] in ATTEMPT_ENDS, events
        assert types[1:-1] in ([], [STARTED]), events


def assert_agreed(api: VoiceApi, receiver: Receiver, simulator: Simulator) -> None:
    """What the Voice API shows, what was told and what the platform did are the same calls."""
    statuses = api.statuses()
    placed = {dial["call_id"] for dial in simulator.dials()}
    for call_id, events in receiver.by_call().items():
        end = events[-1]
        assert statuses[call_id] == end.type.removeprefix("voice_call.")
        assert {event.data["retell_call_id"] for event in events} <= placed


def assert_accounted_for(
    api: VoiceApi, simulator: Simulator, receiver: Receiver, call_ids: Collection[str]
) -> None:
    """All of it."""
    assert len(set(call_ids)) == len(call_ids)
    assert set(api.statuses()) == set(call_ids)
    assert_dialed_once(simulator, call_ids)
    assert_told_once(receiver, call_ids)
    assert_agreed(api, receiver, simulator)

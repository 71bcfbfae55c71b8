"""Activity events on an EventBridge bus: ten a request, each judged by itself.

An event's `detail` is the CloudEvent as it is, its `detail-type` the CloudEvent's type, its source
`outdial`. EventBridge keeps no order, not even within a request: the relay has one event of a call
under way at a time, and consumers order by `sequence`. Source of the codes: `PutEventsResultEntry`
in the EventBridge API reference.
"""

import json
from collections.abc import Sequence
from typing import Any

from outdial.adapters.aws.batches import Batches, Fields
from outdial.adapters.aws.client import AwsClient, Refused
from outdial.errors import ConfigurationError, OutdialError, Poison, Unavailable

DEPENDENCY = "activity sink"
SOURCE = "outdial"
#: Bytes of events in one request; a single larger one is sent alone, for AWS to judge.
_REQUEST_BYTES = 256_000
#: Codes about this very event; all others are about the bus, our rights, or the moment.
_ABOUT_THE_EVENT = frozenset({"InvalidArgument", "MalformedDetail", "RedactionFailure"})
#: Codes for a whole request that has something in it that can't be.
_ABOUT_THE_REQUEST = frozenset({"ValidationException", "ValidationError", "RequestEntityTooLarge"})


class EventBridgeSink:
    """Puts events on one bus; usable from one event loop."""

    def __init__(self, bus: str, region: str | None = None) -> None:
        """`bus`: its name. `region`: None for the environment's."""
        if not bus:
            raise ConfigurationError(
                "OUTDIAL_ACTIVITY_SINK_URL names no bus: write it like eventbridge://BUS"
            )
        self._bus = bus
        self._client = AwsClient("events", DEPENDENCY, region=region)
        self._batches = Batches(self._put, most_bytes=_REQUEST_BYTES)

    async def deliver(self, event_id: str, event: bytes) -> None:
        """See the port; events that come together share a request."""
        del event_id  # it is in the event
        detail = event.decode()
        entry = {
            "EventBusName": self._bus,
            "Source": SOURCE,
            "DetailType": _type(detail),
            "Detail": detail,
        }
        await self._batches.put([(entry, len(event) + len(entry["DetailType"]) + len(SOURCE))])

    async def check(self) -> str:
        """For the doctor: the bus's ARN. Raises `Unavailable`."""
        found = await self._client.ask("describe_event_bus", Name=self._bus)
        return str(found["Arn"])

    async def close(self) -> None:
        """See the port."""
        await self._batches.drain()
        await self._client.close()

    async def _put(self, entries: Sequence[Fields]) -> Sequence[OutdialError | None]:
        try:
            answer = await self._client.ask("put_events", Entries=list(entries))
        except Refused as error:
            if error.code not in _ABOUT_THE_REQUEST:
                raise
            if len(entries) == 1:
                return [Poison(f"the event bus refuses it: {error.code}")]
            # One of them spoils the request for the others: each on its own.
            return [outcome for entry in entries for outcome in await self._put([entry])]
        return [_judged(result) for result in answer["Entries"]]


def _judged(result: dict[str, Any]) -> OutdialError | None:
    code = result.get("ErrorCode")
    if code is None:
        return None
    if code in _ABOUT_THE_EVENT:
        return Poison(f"the event bus refuses it: {code}")
    return Unavailable(DEPENDENCY, f"{code}: {result.get('ErrorMessage', '')}"[:300])


def _type(detail: str) -> str:
    """The CloudEvent's; every event of ours has one."""
    event = json.loads(detail)
    return str(event.get("type", "voice_call")) if isinstance(event, dict) else "voice_call"

"""The queue port over an SQS standard queue.

The dead-letter queue is the one that the queue's redrive policy names. A message that Outdial
itself dead-letters carries its reason, stage, receive count and time as attributes; one that SQS
moved, after the policy's greatest number of receives, has none.
"""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from outdial.adapters.aws.addresses import QueueAddress
from outdial.adapters.aws.batches import Batches, Carry, Fields
from outdial.adapters.aws.bodies import Attributes, group_id, pack, size_of, text, unpack
from outdial.adapters.aws.client import AwsClient, Refused
from outdial.core.retry import Backoff
from outdial.errors import OutdialError, Unavailable
from outdial.ports.queue import (
    MAX_BATCH,
    MAX_MESSAGE_BYTES,
    DeadLetter,
    Depth,
    Outgoing,
    QueueSettings,
    Received,
    check_message,
    check_visibility,
)

#: Seconds of the longest poll.
_LONGEST_POLL = 20
#: Seconds that a message stays hidden while it is moved or looked at.
_MOVING = 60
#: Dead letters that are looked at to show the oldest of them.
_LOOKED_AT = 1000
#: What a receipt is told that is over, or was never one.
_STALE = frozenset({"ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight"})
_SYSTEM = ["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId"]
_TRIES = 4
_BACKOFF = Backoff(base=0.1, ceiling=2.0)


@dataclass(frozen=True, slots=True)
class _Dead:
    """The dead-letter queue."""

    url: str
    max_receives: int


class SqsQueue:
    """One queue; usable from one event loop."""

    def __init__(self, address: QueueAddress, name: str) -> None:
        """`name`: `calls` or `events`, whatever the queue is called there."""
        self._name = name
        self._address = address
        self._dependency = f"{name.removesuffix('s')} queue"
        self._client = AwsClient(
            "sqs", self._dependency, region=address.region, endpoint=address.origin
        )
        self._sends = Batches(self._sending(address.url))
        self._deletes = Batches(self._settling("delete_message_batch"))
        self._changes = Batches(self._settling("change_message_visibility_batch"))
        self._receiving: set[asyncio.Task[list[Received]]] = set()
        self._dead: _Dead | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """`calls` or `events`."""
        return self._name

    @property
    def url(self) -> str:
        """Where it is."""
        return self._address.url

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """See the port. Messages of many callers share requests."""
        entries = [_outgoing(message) for message in messages]
        self._require_open()
        await self._sends.put(entries)

    async def receive(
        self, limit: int = MAX_BATCH, wait: float = 0.0, visibility: float | None = None
    ) -> list[Received]:
        """See the port. SQS counts whole seconds: `wait` is rounded down, `visibility` up."""
        if visibility is not None:
            check_visibility(visibility)
        if self._closed or limit <= 0:
            return []
        task = asyncio.create_task(self._receive(limit, wait, visibility))
        self._receiving.add(task)
        task.add_done_callback(self._receiving.discard)
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self._closed and (current is None or not current.cancelling()):
                return []
            raise

    async def delete(self, messages: Sequence[Received]) -> None:
        """See the port."""
        await self._settle(self._deletes, messages)

    async def change_visibility(self, messages: Sequence[Received], seconds: float) -> None:
        """See the port. SQS counts whole seconds: `seconds` are rounded up."""
        timeout = math.ceil(check_visibility(seconds))
        await self._settle(self._changes, messages, VisibilityTimeout=timeout)

    async def dead_letter(self, message: Received, reason: str, stage: str) -> None:
        """See the port. Nothing is moved where the receipt no longer holds."""
        dead = await self._dead_letter_queue()
        try:
            # Also keeps it from others while it is in both queues.
            await self._client.ask(
                "change_message_visibility",
                QueueUrl=self._address.url,
                ReceiptHandle=message.receipt,
                VisibilityTimeout=_MOVING,
            )
        except Refused as error:
            if error.code in _STALE:
                return
            raise
        told = {
            "reason": text(reason),
            "stage": text(stage),
            "receive_count": str(message.receive_count),
            "sent_at": str(message.sent_at),
        }
        body, attributes = pack(message.body, told)
        await self._client.ask(
            "send_message", QueueUrl=dead.url, MessageBody=body, MessageAttributes=attributes
        )
        await self.delete([message])

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """See the port. Of more than a thousand, some of the oldest may be missing.

        SQS can't show without handing out: for a moment nobody else sees them.
        """
        dead = await self._dead_letter_queue()
        found: dict[str, DeadLetter] = {}
        seen: list[dict[str, Any]] = []
        try:
            async for message in self._taken_out(dead):
                seen.append(message)
                found[message["MessageId"]] = _dead_letter(message, dead)
                if len(found) >= max(limit, _LOOKED_AT):
                    break
        finally:
            await self._put_back(dead, seen)
        return sorted(found.values(), key=lambda each: (each.dead_at, each.id))[:limit]

    async def redrive(self, ids: Sequence[str] | None = None) -> int:
        """See the port. A crash between sending and deleting redrives a message twice."""
        dead = await self._dead_letter_queue()
        chosen = None if ids is None else set(ids)
        kept: list[dict[str, Any]] = []
        batch: list[dict[str, Any]] = []
        count = 0
        try:
            async for message in self._taken_out(dead):
                if chosen is None or message["MessageId"] in chosen:
                    batch.append(message)
                else:
                    kept.append(message)
                if len(batch) == MAX_BATCH or (chosen and count + len(batch) == len(chosen)):
                    count += await self._revive(dead, batch)
                    batch = []
                if chosen is not None and count == len(chosen):
                    break
            count += await self._revive(dead, batch)
        finally:
            await self._put_back(dead, kept)
        return count

    async def depth(self) -> Depth:
        """See the port; approximate. Without a dead-letter queue none are dead."""
        attributes = await self._attributes(self._address.url)
        dead = self._dead_of(attributes)
        of_dead = await self._attributes(dead.url) if dead else {}
        return Depth(
            visible=_count(attributes, ""),
            in_flight=_count(attributes, "NotVisible"),
            delayed=_count(attributes, "Delayed"),
            dead=sum(_count(of_dead, kind) for kind in ("", "NotVisible", "Delayed")),
        )

    async def settings(self) -> QueueSettings:
        """How the queue is set, as `doctor` judges it; asks for every permission a stage needs.

        Raises `Unavailable`, naming the permission that is missing.
        """
        attributes = await self._attributes(self._address.url)
        dead = self._dead_of(attributes)
        of_dead = await self._attributes(dead.url) if dead else {}
        await self._ask_for_permissions(self._address.url)
        if dead:
            # What is poison is put there; `outdial dlq` takes it out again.
            await self._ask_for_permissions(dead.url)
        return QueueSettings(
            visibility=int(attributes.get("VisibilityTimeout", 30)),
            max_receives=dead.max_receives if dead else None,
            max_bytes=int(attributes.get("MaximumMessageSize", MAX_MESSAGE_BYTES)),
            retention=int(attributes.get("MessageRetentionPeriod", 345_600)),
            dead_retention=int(of_dead["MessageRetentionPeriod"])
            if "MessageRetentionPeriod" in of_dead
            else None,
            region=await self._client.region(),
        )

    async def close(self) -> None:
        """See the port."""
        self._closed = True
        for task in tuple(self._receiving):
            task.cancel()
        for batches in (self._sends, self._deletes, self._changes):
            await batches.drain()
        await self._client.close()

    # Receiving

    async def _receive(self, limit: int, wait: float, visibility: float | None) -> list[Received]:
        """Poll once; while answers are full, ask for the rest, twice as many requests a time."""
        messages = await self._poll(min(limit, MAX_BATCH), wait, visibility)
        width = 1
        while limit > len(messages) and len(messages) >= MAX_BATCH:
            left = limit - len(messages)
            width = min(2 * width, math.ceil(left / MAX_BATCH))
            sizes = [min(MAX_BATCH, left - MAX_BATCH * number) for number in range(width)]
            polls = await asyncio.gather(
                *(self._poll(size, 0, visibility) for size in sizes), return_exceptions=True
            )
            more = [each for poll in polls if isinstance(poll, list) for each in poll]
            messages += more
            if len(more) < sum(sizes):
                break
        return messages

    async def _poll(self, limit: int, wait: float, visibility: float | None) -> list[Received]:
        optional = {} if visibility is None else {"VisibilityTimeout": math.ceil(visibility)}
        answer = await self._client.ask(
            "receive_message",
            QueueUrl=self._address.url,
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=min(int(wait), _LONGEST_POLL),
            MessageSystemAttributeNames=_SYSTEM,
            MessageAttributeNames=["All"],
            **optional,
        )
        return [_received(message) for message in answer.get("Messages", [])]

    # Settling

    async def _settle(
        self, batches: Batches, messages: Sequence[Received], **fields: object
    ) -> None:
        self._require_open()
        receipts = dict.fromkeys(each.receipt for each in messages if each.receipt)
        await batches.put([({"ReceiptHandle": each, **fields}, 0) for each in receipts])

    def _sending(self, url: str) -> Carry:
        async def carry(entries: Sequence[Fields]) -> Sequence[OutdialError | None]:
            return await self._request("send_message_batch", url, entries)

        return carry

    def _settling(self, operation: str) -> Carry:
        async def carry(entries: Sequence[Fields]) -> Sequence[OutdialError | None]:
            outcomes = await self._request(operation, self._address.url, entries)
            return [
                None if isinstance(each, Refused) and each.code in _STALE else each
                for each in outcomes
            ]

        return carry

    async def _request(
        self, operation: str, url: str, entries: Sequence[Fields]
    ) -> Sequence[OutdialError | None]:
        """One batch; entries that failed by no fault of ours are tried again on their own."""
        outcomes: list[OutdialError | None] = [None] * len(entries)
        left = list(range(len(entries)))
        for failures in range(1, _TRIES + 1):
            numbered = [{"Id": str(number), **entries[number]} for number in left]
            answer = await self._client.ask(operation, QueueUrl=url, Entries=numbered)
            for number in left:
                outcomes[number] = None
            again = []
            for failed in answer.get("Failed", ()):
                number = int(failed["Id"])
                code = str(failed.get("Code", "")).rpartition(".")[2]
                told = f"{code}: {failed.get('Message', '')}"
                outcomes[number] = Refused(self._dependency, told, code)
                if not failed.get("SenderFault") and code not in _STALE:
                    again.append(number)
            left = again
            if not left:
                break
            await asyncio.sleep(_BACKOFF.delay(failures, 1.0))
        return outcomes

    # Dead letters

    async def _dead_letter_queue(self) -> _Dead:
        self._require_open()
        if self._dead is None:
            self._dead = self._dead_of(await self._attributes(self._address.url))
        if self._dead is None:
            detail = f"{self._address.name} has no dead-letter queue: give it a redrive policy"
            raise Unavailable(self._dependency, detail)
        return self._dead

    def _dead_of(self, attributes: dict[str, str]) -> _Dead | None:
        policy = json.loads(attributes.get("RedrivePolicy") or "{}")
        arn = str(policy.get("deadLetterTargetArn", ""))
        if not arn:
            return None
        url = self._address.sibling(arn.rpartition(":")[2])
        return _Dead(url, int(policy.get("maxReceiveCount", 0)))

    async def _taken_out(self, dead: _Dead) -> AsyncIterator[dict[str, Any]]:
        """Every dead letter once; hidden from others for a minute."""
        seen: set[str] = set()
        while True:
            answer = await self._client.ask(
                "receive_message",
                QueueUrl=dead.url,
                MaxNumberOfMessages=MAX_BATCH,
                # A short poll may find nothing where there is something; a long one asks all of
                # the queue's servers.
                WaitTimeSeconds=1,
                VisibilityTimeout=_MOVING,
                MessageSystemAttributeNames=_SYSTEM,
                MessageAttributeNames=["All"],
            )
            messages = answer.get("Messages", [])
            fresh = [each for each in messages if each["MessageId"] not in seen]
            if not fresh:
                return
            for message in fresh:
                seen.add(message["MessageId"])
                yield message

    async def _put_back(self, dead: _Dead, messages: Sequence[dict[str, Any]]) -> None:
        for start in range(0, len(messages), MAX_BATCH):
            batch = messages[start : start + MAX_BATCH]
            entries = [
                {"ReceiptHandle": each["ReceiptHandle"], "VisibilityTimeout": 0} for each in batch
            ]
            await self._request("change_message_visibility_batch", dead.url, entries)

    async def _revive(self, dead: _Dead, messages: Sequence[dict[str, Any]]) -> int:
        if not messages:
            return 0
        revived = []
        for message in messages:
            group = message.get("Attributes", {}).get("MessageGroupId")
            body = unpack(message["Body"], _attributes_of(message))
            revived.append(Outgoing(body, group))
        await self.send(revived)
        entries = [{"ReceiptHandle": each["ReceiptHandle"]} for each in messages]
        await self._request("delete_message_batch", dead.url, entries)
        return len(messages)

    # The queue itself

    async def _attributes(self, url: str) -> dict[str, str]:
        answer = await self._client.ask(
            "get_queue_attributes", QueueUrl=url, AttributeNames=["All"]
        )
        attributes: dict[str, str] = answer.get("Attributes", {})
        return attributes

    async def _ask_for_permissions(self, url: str) -> None:
        """Requests that change nothing, for each is wrong in itself: only being denied counts."""
        nowhere = {"ReceiptHandle": "none"}
        for operation, parameters in (
            ("send_message", {"MessageBody": ""}),
            ("receive_message", {"MaxNumberOfMessages": 11}),
            ("delete_message", nowhere),
            ("change_message_visibility", {**nowhere, "VisibilityTimeout": 0}),
        ):
            try:
                await self._client.ask(operation, QueueUrl=url, **parameters)
            except Refused as error:
                if error.code.startswith("AccessDenied"):
                    name = url.rpartition("/")[2]
                    raise Refused(
                        error.dependency, f"{error.detail} on {name}", error.code
                    ) from error

    def _require_open(self) -> None:
        if self._closed:
            raise Unavailable(self._dependency, "it was closed")


def _outgoing(message: Outgoing) -> tuple[Fields, int]:
    check_message(message)
    body, attributes = pack(message.body, {})
    size = size_of(body, attributes)
    if size > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {size} bytes is over the limit of {MAX_MESSAGE_BYTES}")
    fields: dict[str, object] = {"MessageBody": body}
    if attributes:
        fields["MessageAttributes"] = attributes
    if message.delay_seconds:
        fields["DelaySeconds"] = message.delay_seconds
    if message.group:
        fields["MessageGroupId"] = group_id(message.group)
    return fields, size


def _received(message: dict[str, Any]) -> Received:
    told = message["Attributes"]
    return Received(
        id=message["MessageId"],
        body=unpack(message["Body"], _attributes_of(message)),
        receipt=message["ReceiptHandle"],
        receive_count=int(told["ApproximateReceiveCount"]),
        sent_at=int(told["SentTimestamp"]),
    )


def _dead_letter(message: dict[str, Any], dead: _Dead) -> DeadLetter:
    attributes = _attributes_of(message)
    told = {name: str(given.get("StringValue", "")) for name, given in attributes.items()}
    moved_at = int(message["Attributes"]["SentTimestamp"])
    # Where SQS moved it, its time is that of the first sending: when it died SQS does not tell.
    by_queue = f"received {dead.max_receives} times without an end"
    return DeadLetter(
        id=message["MessageId"],
        body=unpack(message["Body"], attributes),
        reason=told.get("reason", by_queue),
        stage=told.get("stage", "queue"),
        receive_count=int(told.get("receive_count", dead.max_receives)),
        sent_at=int(told.get("sent_at", moved_at)),
        dead_at=moved_at,
    )


def _attributes_of(message: dict[str, Any]) -> Attributes:
    attributes: Attributes = message.get("MessageAttributes", {})
    return attributes


def _count(attributes: dict[str, str], kind: str) -> int:
    return int(attributes.get(f"ApproximateNumberOfMessages{kind}", 0))

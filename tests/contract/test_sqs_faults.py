"""What the SQS adapter makes of AWS's refusals, and how it fills its requests."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from outdial.adapters.aws import client
from outdial.adapters.aws.addresses import bucket_address, queue_address
from outdial.adapters.aws.batches import Batches, Fields
from outdial.adapters.aws.bodies import group_id, pack, text, unpack
from outdial.adapters.aws.parking import S3Parking
from outdial.adapters.aws.queue import SqsQueue
from outdial.errors import OutdialError, Unavailable
from outdial.ports.queue import MAX_MESSAGE_BYTES, Outgoing, Provisioned, Received
from tests.aws_emulator import emulator
from tests.contract.aws_endpoint import Endpoint, endpoint

MESSAGE = Received("1", "body", "receipt", 1, 1_800_000_000_000)


@pytest.fixture
async def aws(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Endpoint]:
    """An endpoint that answers as it is told."""
    client._session.cache_clear()
    async with endpoint(monkeypatch) as made:
        yield made
    client._session.cache_clear()


@pytest.fixture
async def queue(aws: Endpoint) -> AsyncIterator[SqsQueue]:
    """A queue there."""
    address = queue_address(f"{aws.url}/123456789012/calls")
    assert address is not None
    made = SqsQueue(address, "calls")
    yield made
    await made.close()


async def test_throttling_is_survived(queue: SqsQueue, aws: Endpoint) -> None:
    """A request that is throttled is made again."""
    aws.refuse("ThrottlingException")
    aws.answer(Attributes={})
    assert (await queue.depth()).visible == 0
    assert len(aws.requests) == 2


async def test_expired_credentials_are_read_anew(
    queue: SqsQueue, aws: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With those that lie in the environment by then, the operation goes through."""
    aws.answer(Attributes={})
    await queue.depth()
    aws.answers.clear()
    aws.refuse("ExpiredToken")
    aws.answer(Attributes={})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSECOND")
    await queue.depth()
    assert aws.keys == ["AKIDFIRST", "AKIDFIRST", "AKIDSECOND"]


async def test_credentials_that_stay_expired(queue: SqsQueue, aws: Endpoint) -> None:
    """Read anew once; then the queue is unavailable, for a consumer to try again."""
    aws.refuse("ExpiredToken", times=2)
    with pytest.raises(Unavailable, match=r"ExpiredToken: .* get new ones"):
        await queue.depth()
    assert len(aws.requests) == 2


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("QueueDoesNotExist", r"no such queue in eu-west-1"),
        ("AccessDeniedException", r"allow sqs:GetQueueAttributes"),
        ("SomethingNew", r"SomethingNew.*because"),
    ],
)
async def test_a_refusal_is_one_line(queue: SqsQueue, aws: Endpoint, code: str, said: str) -> None:
    """It names the queue and, where that is known, what to do."""
    aws.refuse(code, times=2)
    with pytest.raises(Unavailable, match=f"call queue unavailable: .*{said}") as raised:
        await queue.depth()
    assert "\n" not in str(raised.value)


async def test_without_a_region(queue: SqsQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to set."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(Unavailable, match="set AWS_REGION"):
        await queue.depth()


async def test_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that is away is an unavailable queue."""
    monkeypatch.setattr(client, "_ATTEMPTS", 1)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    address = queue_address("http://127.0.0.1:1/123456789012/events")
    assert address is not None
    away = SqsQueue(address, "events")
    with pytest.raises(Unavailable, match=r"event queue unavailable: .*127\.0\.0\.1:1"):
        await away.depth()
    await away.close()
    with pytest.raises(Unavailable, match="closed"):
        await away.send([Outgoing("x")])


async def test_a_part_of_a_batch_is_sent_again(queue: SqsQueue, aws: Endpoint) -> None:
    """Only what failed by no fault of ours, and all callers hear that it went."""
    fault = {"Code": "InternalError", "Message": "again", "SenderFault": False}
    aws.answer(Successful=[], Failed=[{"Id": "1", **fault}])
    aws.answer(Successful=[], Failed=[])
    await queue.send([Outgoing(body) for body in "abc"])
    sent = [[entry["MessageBody"] for entry in request["Entries"]] for request in aws.requests]
    assert sent == [["a", "b", "c"], ["b"]]


async def test_a_message_that_is_refused(queue: SqsQueue, aws: Endpoint) -> None:
    """Its sender hears of it; another one's in the same request does not."""
    fault = {"Id": "0", "Code": "InvalidMessageContents", "Message": "no", "SenderFault": True}
    aws.answer(Successful=[], Failed=[fault])
    first, second = await asyncio.gather(
        queue.send([Outgoing("a")]), queue.send([Outgoing("b")]), return_exceptions=True
    )
    assert isinstance(first, Unavailable)
    assert second is None
    assert len(aws.requests) == 1


async def test_a_queue_without_dead_letters(queue: SqsQueue, aws: Endpoint) -> None:
    """Nothing is moved nowhere: the message comes again, and the line says what is missing."""
    aws.answer(Attributes={})
    assert (await queue.depth()).dead == 0
    with pytest.raises(Unavailable, match="no dead-letter queue: give it a redrive policy"):
        await queue.dead_letter(MESSAGE, "bad", "stage")


async def test_groups_for_fairness(queue: SqsQueue, aws: Endpoint) -> None:
    """A tenant's and campaign's name is the message group, in characters that SQS takes."""
    aws.answer(Successful=[])
    await queue.send([Outgoing("a", "engage/nurses"), Outgoing("b", "Zoë's / night nurses")])
    first, second = (entry["MessageGroupId"] for entry in aws.requests[0]["Entries"])
    assert first == "engage/nurses"
    assert second == group_id("Zoë's / night nurses")
    assert len(second) == 64


async def test_many_callers_share_requests() -> None:
    """What comes together goes ten at a time, and never more than one MiB."""
    carried: list[list[object]] = []

    async def carry(entries: "list[Fields] | object") -> list[OutdialError | None]:
        assert isinstance(entries, list)
        carried.append([each["n"] for each in entries])
        await asyncio.sleep(0)
        return [None] * len(entries)

    batches = Batches(carry, at_once=2)
    await asyncio.gather(*(batches.put([({"n": n}, 10)]) for n in range(25)))
    assert [len(each) for each in carried] == [10, 10, 5]
    carried.clear()
    await batches.put([({"n": n}, MAX_MESSAGE_BYTES // 3) for n in range(4)])
    assert [len(each) for each in carried] == [3, 1]


async def test_who_was_cancelled_is_not_waited_for() -> None:
    """Its entries are left out of the requests that have not gone."""
    carried: list[object] = []
    gate = asyncio.Event()

    async def carry(entries: "list[Fields] | object") -> list[OutdialError | None]:
        assert isinstance(entries, list)
        carried.extend(each["n"] for each in entries)
        await gate.wait()
        return [None] * len(entries)

    batches = Batches(carry, at_once=1)
    first = asyncio.create_task(batches.put([({"n": 1}, 0)]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second = asyncio.create_task(batches.put([({"n": 2}, 0)]))
    third = asyncio.create_task(batches.put([({"n": 3}, 0)]))
    await asyncio.sleep(0)
    second.cancel()
    gate.set()
    await asyncio.gather(first, third)
    await batches.drain()
    assert carried == [1, 3]


async def test_a_fault_of_a_request_reaches_its_callers() -> None:
    """Nobody waits for ever where a program error ends a request."""

    async def carry(_: object) -> list[OutdialError | None]:
        raise RuntimeError("ours")

    batches = Batches(carry)
    loop = asyncio.get_running_loop()
    said: list[object] = []
    loop.set_exception_handler(lambda _, context: said.append(context))
    with pytest.raises(asyncio.CancelledError):
        await batches.put([({}, 0)])
    await asyncio.sleep(0)


@pytest.mark.parametrize("body", ["", "a\x00b", "\ufffe", "x" * MAX_MESSAGE_BYTES])
def test_what_sqs_does_not_take_is_packed(body: str) -> None:
    """Foreign characters, nothing at all, and a full message with a reason besides."""
    packed, attributes = pack(body, {"reason": "r"})
    assert packed != body
    assert len(packed) < MAX_MESSAGE_BYTES
    assert unpack(packed, attributes) == body


def test_a_reason_as_an_attribute() -> None:
    """Never empty, never of foreign characters, never long."""
    assert [text("a\x00b"), text(""), len(text("x" * 9999))] == ["a\ufffdb", "-", 2000]


async def test_how_a_queue_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What doctor judges; asking changes nothing in the queue."""
    there = emulator()
    for name, value in there.environment.items():
        monkeypatch.setenv(name, value)
    url = there.queue("calls", visibility=90, max_receives=7, MessageRetentionPeriod="1209600")
    address = queue_address(url)
    assert address is not None
    queue = SqsQueue(address, "calls")
    assert isinstance(queue, Provisioned)
    found = await queue.settings()
    assert (found.visibility, found.max_receives, found.retention) == (90, 7, 1_209_600)
    assert (found.max_bytes, found.dead_retention) == (MAX_MESSAGE_BYTES, 345_600)
    assert found.region == "us-east-1"
    depth = await queue.depth()
    assert (depth.visible, depth.delayed) == (0, 0)
    await queue.close()


async def test_a_permission_that_is_missing(queue: SqsQueue, aws: Endpoint) -> None:
    """It is named, whichever it is."""
    aws.answer(Attributes={})
    aws.refuse("MissingParameter")
    aws.refuse("AccessDenied", 403, times=2)
    with pytest.raises(Unavailable, match="allow sqs:ReceiveMessage"):
        await queue.settings()


async def test_a_permission_on_the_dead_letter_queue_that_is_missing(
    queue: SqsQueue, aws: Endpoint
) -> None:
    """It is asked as well, and named with the queue."""
    policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:1:calls-dead", "maxReceiveCount": 9}
    aws.answer(Attributes={"RedrivePolicy": json.dumps(policy)})
    aws.answer(Attributes={})
    aws.refuse("MissingParameter", times=4)
    aws.refuse("AccessDenied", 403)
    with pytest.raises(Unavailable, match=r"allow sqs:SendMessage on calls-dead$"):
        await queue.settings()


async def test_a_bucket_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its variable is named."""
    for name, value in emulator().environment.items():
        monkeypatch.setenv(name, value)
    address = bucket_address("s3://no-such-bucket/x")
    assert address is not None
    parking = S3Parking(address)
    with pytest.raises(Unavailable, match="mend OUTDIAL_PARKED_URL"):
        await parking.put("a", b"b")
    await parking.close()

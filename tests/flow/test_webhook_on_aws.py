"""The Lambda as a Lambda: its archive deployed, called by its function URL, forwarding to SQS."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from deploy.build_lambda import HANDLER, build
from outdial.adapters.aws.addresses import bucket_address, queue_address
from outdial.adapters.aws.parking import S3Parking
from outdial.adapters.aws.queue import SqsQueue
from outdial.core.messages import EventMessage, decode_event, open_payload
from outdial.core.signature import HEADER, sign
from tests.aws_emulator import Emulator, emulator
from tests.unit.test_webhook_lambda import BODY, KEY, large, noise

#: Other characters than ASCII, and one that SQS would refuse.
UNUSUAL = json.dumps({"event": "call_ended", "note": "Zoë \u2713 \ufffe"}, ensure_ascii=False)


@dataclass(frozen=True)
class Deployed:
    """The function with the queue and the bucket that it writes to."""

    aws: Emulator
    url: str
    queue: SqsQueue
    parking: S3Parking

    def post(self, body: bytes, signature: str | None = None) -> tuple[int, bytes]:
        """Post as Retell does; status and body of the answer."""
        good = sign(KEY, body, time.time_ns() // 1_000_000)
        headers = {HEADER: signature or good, "content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/webhooks/retell", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    async def take(self) -> list[EventMessage]:
        """What lies in the queue."""
        messages = await self.queue.receive(10, wait=1)
        await self.queue.delete(messages)
        return [decode_event(each.body) for each in messages]


@pytest.fixture
async def deployed(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Deployed]:
    """Deployed anew, with nothing in the queue."""
    aws = emulator()
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    queue_url, bucket_url = aws.queue("events"), f"s3://{aws.bucket()}/parked"
    address, bucket = queue_address(queue_url), bucket_address(bucket_url)
    assert address is not None
    assert bucket is not None
    settings = {
        "OUTDIAL_RETELL_WEBHOOK_KEY": f"key_new, {KEY}",
        "OUTDIAL_EVENT_QUEUE_URL": queue_url,
        "OUTDIAL_PARKED_URL": bucket_url,
    }
    url = aws.function(build(), HANDLER, settings)
    queue, parking = SqsQueue(address, "events"), S3Parking(bucket)
    yield Deployed(aws, url, queue, parking)
    await queue.close()
    await parking.close()


async def test_takes_what_is_signed(deployed: Deployed) -> None:
    """204 once it is in the queue, byte for byte; cold, warm, and with unusual characters."""
    bodies = [BODY, UNUSUAL.encode(), BODY]
    assert [deployed.post(body) for body in bodies] == [(204, b"")] * 3
    taken: list[EventMessage] = []
    while len(taken) < 3:
        taken += await deployed.take()
    assert sorted(open_payload(each) for each in taken) == sorted(bodies)


async def test_refuses_what_is_not(deployed: Deployed) -> None:
    """A wrong signature is 401, signed bytes that are no event 400; nothing goes on."""
    assert deployed.post(BODY, sign("other", BODY, time.time_ns() // 1_000_000))[0] == 401
    assert deployed.post(b"[]")[0] == 400
    assert await deployed.take() == []


async def test_parks_in_the_bucket(deployed: Deployed) -> None:
    """What even compressed is too large lies in S3, and its pointer in the queue."""
    body = large(3_000_000, noise(3_000_000))
    assert deployed.post(body)[0] == 204
    (pointer,) = await deployed.take()
    assert pointer.encoding == "parked"
    assert await deployed.parking.get(pointer.payload) == body


async def test_a_queue_that_is_not_there(deployed: Deployed) -> None:
    """503, so that Retell sends it again; why is for the log."""
    client: Any = deployed.aws.client("sqs")
    client.delete_queue(QueueUrl=deployed.queue.url)
    status, said = deployed.post(BODY)
    assert status == 503
    assert json.loads(said)["detail"] == "try again later"

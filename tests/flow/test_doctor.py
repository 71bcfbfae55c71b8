"""`outdial doctor` names what is wrong, one by one, and nothing else."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from outdial.core.signature import HEADER, Verdict, verify
from tests.flow.program import Program
from tests.ledger_world import analyzed, incoming, open_world

Answer = tuple[int, dict[str, Any], dict[str, str]]
KEY = "key_of_the_workspace"


@dataclass
class Elsewhere:
    """A server that answers as its test says; `url` is where it is."""

    url: str = ""
    answer: Callable[[BaseHTTPRequestHandler, bytes], Answer] = field(
        default=lambda _request, _body: (200, {}, {})
    )


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Retell, AWS or a webhook entry."""
    found = Elsewhere()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer, headers = found.answer(self, body)
            self.send_response_only(status)
            for name, value in {"Date": formatdate(usegmt=True), **headers}.items():
                self.send_header(name, value)
            sent = json.dumps(answer).encode()
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_POST = do_GET  # noqa: N815 - the base class's name

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@pytest.fixture
def program(tmp_path: Path, elsewhere: Elsewhere) -> Program:
    """The program with a sound database, dialing through a Retell that accepts its key."""
    retell = {"OUTDIAL_RETELL_API_KEY": KEY, "OUTDIAL_RETELL_BASE_URL": elsewhere.url}
    found = Program(tmp_path, retell)
    found.run("db", "upgrade")
    return found


def faults(program: Program, *arguments: str, **settings: str) -> dict[str, str]:
    """What is at fault, and its details and remedy."""
    told = program.json("doctor", *arguments, code=1, **settings)
    return {
        check["name"]: f"{check['detail']} → {check['mend']}"
        for check in told["checks"]
        if check["state"] == "fault"
    }


def the_fault(program: Program, name: str, *arguments: str, **settings: str) -> str:
    """The only one there is."""
    found = faults(program, *arguments, **settings)
    assert list(found) == [name]
    return found[name]


def test_all_is_well(program: Program) -> None:
    """So that each fault below is that of its test."""
    assert program.json("doctor")["ok"]


def test_a_wrong_retell_key(program: Program, elsewhere: Elsewhere) -> None:
    """Retell says 401."""
    elsewhere.answer = lambda _request, _body: (401, {}, {})
    assert "OUTDIAL_RETELL_API_KEY" in the_fault(program, "voice platform")


def test_a_clock_that_is_minutes_off(program: Program, elsewhere: Elsewhere) -> None:
    """By the platform's own clock."""
    elsewhere.answer = lambda _request, _body: (200, {}, {"Date": formatdate(0, usegmt=True)})
    assert "NTP" in the_fault(program, "clock")


def test_an_unreachable_database(program: Program) -> None:
    """Named once, whatever else needs it."""
    url = "postgresql://outdial:hunter2@127.0.0.1:1/outdial"
    told = the_fault(program, "database", OUTDIAL_DATABASE_URL=url)
    assert "OUTDIAL_DATABASE_URL" in told
    assert "hunter2" not in told


def test_a_pending_migration(program: Program, postgres_url: str) -> None:
    """An empty database lacks all of them."""
    told = the_fault(program, "database", OUTDIAL_DATABASE_URL=postgres_url)
    assert "outdial db upgrade" in told


def test_a_database_whose_clock_is_right(program: Program, postgres_url: str) -> None:
    """It times leases and permits, so it is asked too."""
    program.run("db", "upgrade", OUTDIAL_DATABASE_URL=postgres_url)
    told = program.json("doctor", OUTDIAL_DATABASE_URL=postgres_url)
    assert "database clock" in [check["name"] for check in told["checks"]]


@contextmanager
def _aws(elsewhere: Elsewhere, answers: Callable[[str], Answer]) -> Iterator[dict[str, str]]:
    """SQS instead of Retell, by its JSON protocol; settings of a program that uses it."""

    def answer(request: BaseHTTPRequestHandler, _body: bytes) -> Answer:
        operation = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        return answers(operation) if operation else (200, {}, {})

    elsewhere.answer = answer
    yield {
        "AWS_ENDPOINT_URL": elsewhere.url,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "OUTDIAL_CALL_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/calls",
    }


def _refusal(code: str) -> Answer:
    error = f"com.amazonaws.sqs#{code}"
    return 400, {"__type": error, "message": code}, {"x-amzn-query-error": f"{code};Sender"}


def test_a_missing_queue_or_a_wrong_region(program: Program, elsewhere: Elsewhere) -> None:
    """SQS can't tell the two apart; both are named, with the region that was asked."""
    with _aws(elsewhere, lambda _operation: _refusal("QueueDoesNotExist")) as settings:
        told = the_fault(program, "call queue", **settings)
    assert "no such queue in eu-central-1: mend its URL, or the region" in told


def test_a_missing_permission(program: Program, elsewhere: Elsewhere) -> None:
    """By the name under which it is given."""
    with _aws(elsewhere, lambda _operation: _refusal("AccessDenied")) as settings:
        assert "sqs:GetQueueAttributes" in the_fault(program, "call queue", **settings)


def test_a_bucket_that_may_only_be_read(program: Program, elsewhere: Elsewhere) -> None:
    """Webhooks too large for a queue have to be put there, too."""

    def answer(request: BaseHTTPRequestHandler, _body: bytes) -> Answer:
        return (200 if request.command == "GET" else 403), {}, {}

    elsewhere.answer = answer
    told = the_fault(
        program,
        "parking",
        AWS_ENDPOINT_URL_S3=elsewhere.url,
        AWS_DEFAULT_REGION="eu-central-1",
        AWS_ACCESS_KEY_ID="a",
        AWS_SECRET_ACCESS_KEY="b",
        OUTDIAL_PARKED_URL="s3://bucket/parked",
    )
    assert "PutObject" in told


def test_one_queue_for_both(program: Program) -> None:
    """Each stage would take the other's messages for poison."""
    url = "https://sqs.eu-central-1.amazonaws.com/123456789012/calls"
    refused = program.run("doctor", code=1, OUTDIAL_CALL_QUEUE_URL=url, OUTDIAL_EVENT_QUEUE_URL=url)
    assert "OUTDIAL_EVENT_QUEUE_URL: is that of OUTDIAL_CALL_QUEUE_URL" in (
        refused.stdout + refused.stderr
    )


def test_a_queue_set_up_otherwise(program: Program, elsewhere: Elsewhere) -> None:
    """Hidden for less than a lease, without dead letters, for small messages only."""
    attributes = {
        "VisibilityTimeout": "30",
        "MaximumMessageSize": "262144",
        "MessageRetentionPeriod": "345600",
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
    }
    with _aws(elsewhere, lambda _operation: (200, {"Attributes": attributes}, {})) as settings:
        told = program.json("doctor", code=1, **settings)
    found = [check["mend"] or "" for check in told["checks"] if check["name"] == "call queue"]
    for setting in ("VisibilityTimeout", "RedrivePolicy", "MaximumMessageSize"):
        assert any(setting in mend for mend in found), found


@pytest.mark.parametrize(
    ("known", "status"), [("another_key", 401), (KEY, 400)], ids=["mismatch", "match"]
)
def test_a_webhook_entry_with_another_key(
    program: Program, elsewhere: Elsewhere, known: str, status: int
) -> None:
    """It is asked with a signature of ours under what is no event, so nothing is kept."""

    def answer(request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        given = request.headers.get(HEADER)
        if given is None:
            return 200, {}, {}
        now = time.time_ns() // 1_000_000
        return (400 if verify(given, body, [known], now) is Verdict.GOOD else 401), {}, {}

    elsewhere.answer = answer
    url = f"{elsewhere.url}/webhooks/retell"
    if status == 400:
        assert program.json("doctor", "--webhook", url)["ok"]
    else:
        told = the_fault(program, "webhook entry", "--webhook", url)
        assert "OUTDIAL_RETELL_WEBHOOK_KEY" in told


def test_webhooks_that_never_come(program: Program) -> None:
    """All that is known of ended calls was learned by asking."""

    async def live() -> None:
        async with open_world(f"sqlite:///{program.home / 'outdial.db'}") as world:
            for _ in range(3):
                _, claim = await world.placed()
                event = incoming(analyzed(claim))
                await world.ledger.inbox.take([event])
            recent = text("UPDATE provider_events SET source = 'asked', received_at = processed_at")
            await world.ledger.database.transact(lambda c: c.execute(recent).close())

    asyncio.run(live())
    assert "webhook's URL" in the_fault(program, "webhooks")


def test_a_parking_that_is_none(program: Program, tmp_path: Path) -> None:
    """A bucket, or here a folder, that can't be read."""
    file = tmp_path / "a-file"
    file.touch()
    assert "parking" in faults(program, OUTDIAL_PARKED_URL=str(file))

"""A Voice API on a real ledger, behind a real socket, whose neighbours can be taken away."""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy

from outdial.adapters.database import Clock, Database, DialingRules, Ledger, Limits
from outdial.adapters.database.intake import LedgerIntake
from outdial.adapters.memory import MemoryQueue
from outdial.core.messages import decode_call_hint
from outdial.errors import Unavailable
from outdial.http_common.auth import KeyAuthentication, issue_key
from outdial.http_common.listening import listen
from outdial.http_common.serving import serving
from outdial.internal_api import Defaults, create_app
from outdial.ports.intake import Accepted, KeyConflict, NewCall
from outdial.ports.keys import Scope
from outdial.ports.queue import Outgoing

RULES = DialingRules(Limits(rate=50, lines=20), lease_ms=60_000, submit_ms=3_000_000)
TO = "+14155550123"
FROM = "+14155550100"
JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}


class AwayIntake(LedgerIntake):
    """The real ledger, until `commits_left` have been made: then the database is away."""

    commits_left = 1_000_000
    commits: Sequence[int] = ()

    def __init__(self, database: Database, clock: Clock) -> None:
        """As the ledger's own."""
        super().__init__(database, clock)
        self.given_back = asyncio.Event()

    async def unpublish(self, call_ids: Sequence[str]) -> None:
        """Say so when it is done."""
        await super().unpublish(call_ids)
        self.given_back.set()

    async def accept(
        self, new_calls: Sequence[NewCall], *, publish: bool
    ) -> list[Accepted | KeyConflict]:
        """Store, or fail as the database's adapter does."""
        if self.commits_left <= 0:
            raise Unavailable("database", "connection refused")
        self.commits_left -= 1
        answers = await super().accept(new_calls, publish=publish)
        self.commits = [*self.commits, len(new_calls)]
        return answers


class AwayQueue(MemoryQueue):
    """A queue that can be `away`."""

    away = False

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Send, or fail as a queue's adapter does."""
        if self.away:
            raise Unavailable("call queue", "connection refused")
        await super().send(messages)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, its body read."""

    status: int
    headers: CIMultiDictProxy[str]
    text: str

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.text)

    @property
    def lines(self) -> list[Any]:
        """The body as NDJSON."""
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def pointers(self) -> set[str]:
        """Where a problem's faults are."""
        return {fault["pointer"] for fault in self.json["errors"]}


@dataclass(slots=True)
class VoiceApi:
    """The service under test; requests carry a key of tenant `acme` with every scope."""

    url: str
    ledger: Ledger
    intake: AwayIntake
    queue: AwayQueue
    session: aiohttp.ClientSession
    secret: str

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        secret: str | None = None,
    ) -> Answer:
        """One request; `body` is sent as JSON unless it is bytes or a stream of them."""
        sent = {"Authorization": f"Bearer {secret or self.secret}"}
        data = body
        if body is not None and not isinstance(body, bytes | AsyncIterator):
            data = json.dumps(body).encode()
            sent |= JSON
        if isinstance(data, bytes):
            data = io.BytesIO(data)
        async with self.session.request(
            method, self.url + path, data=data, headers=sent | (headers or {})
        ) as response:
            text = await response.text()
            return Answer(response.status, response.headers, text)

    async def place(self, headers: dict[str, str] | None = None, **fields: object) -> Answer:
        """Place one call, by default a valid one."""
        return await self.ask("POST", "/v1/calls", {"to_number": TO} | fields, headers)

    async def batch(
        self, body: bytes | AsyncIterator[bytes], headers: dict[str, str] | None = None
    ) -> Answer:
        """Place a batch, by default as NDJSON."""
        return await self.ask("POST", "/v1/calls/batch", body, headers or NDJSON)

    async def key(self, *scopes: Scope, tenant: str = "acme") -> str:
        """A further API key."""
        return (await issue_key(self.ledger.keys, tenant, scopes)).secret

    async def stored(self) -> int:
        """How many calls the ledger holds, up to 200."""
        return len((await self.ledger.intake.page(None, limit=200)).items)

    async def hinted(self) -> list[str]:
        """Ids of the calls whose hints lie in the queue."""
        messages = await self.queue.receive(1000, visibility=0)
        return [decode_call_hint(message.body).call_id for message in messages]


@contextlib.asynccontextmanager
async def voice_api(
    ledger_url: str,
    *,
    defaults: Defaults | None = None,
    dial_rate: float = 50,
) -> AsyncIterator[VoiceApi]:
    """Run the service while the context lasts."""
    ledger = Ledger.open(ledger_url, RULES)
    intake = AwayIntake(ledger.database, ledger.clock)
    queue = AwayQueue("calls")
    key = await issue_key(ledger.keys, "acme", list(Scope))
    app = create_app(
        intake,
        KeyAuthentication(ledger.keys),
        queue,
        ledger.reconciliation,
        status=ledger.dialing.status,
        defaults=defaults or Defaults(FROM, "agent_default"),
        dial_rate=dial_rate,
        checks={"database": ledger.intake.published_ahead},
    )
    try:
        async with (
            aiohttp.ClientSession() as session,
            serving(app, listen("127.0.0.1", 0)) as url,
        ):
            yield VoiceApi(url, ledger, intake, queue, session, key.secret)
    finally:
        await ledger.close()

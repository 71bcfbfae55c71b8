"""Receivers of activity events, in the process of the test, on free ports."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from tests.contract.aws_endpoint import taken_for_aws


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpReceiver:
    """Answers every POST with `status`, once `open` is set."""

    url: str = ""
    status: int = 204
    location: str | None = None
    requests: list[Request] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.Response:
        """Keep the request, then answer."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Request(request.path, headers, await request.read()))
        self.connections.add(request.transport)
        await self.open.wait()
        response = web.Response(status=self.status, text="body")
        response.set_cookie("session", "1")
        if self.location is not None:
            response.headers["location"] = self.location
        return response


@asynccontextmanager
async def http_receiver() -> AsyncIterator[HttpReceiver]:
    """A receiver that is listening."""
    receiver = HttpReceiver()
    receiver.open.set()
    application = web.Application()
    application.router.add_post("/{path:.*}", receiver.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"http://127.0.0.1:{port}/events"
    try:
        yield receiver
    finally:
        receiver.open.set()
        await runner.cleanup()


@dataclass
class EventBus:
    """Takes `PutEvents` requests; tells `codes` for the entries of the next, then success."""

    url: str = ""
    requests: list[list[dict[str, Any]]] = field(default_factory=list)
    codes: list[str | None] = field(default_factory=list)
    refusal: str | None = None

    @property
    def details(self) -> list[bytes]:
        """Of all entries that were taken."""
        return [entry["Detail"].encode() for request in self.requests for entry in request]

    async def handle(self, request: web.Request) -> web.Response:
        """Keep the entries, and answer for each."""
        entries = json.loads(await request.read())["Entries"]
        if self.refusal is not None and len(entries) > 1:
            return web.json_response({"__type": self.refusal, "message": "because"}, status=400)
        codes, self.codes = self.codes, []
        told = [
            {"ErrorCode": code, "ErrorMessage": "because"} if code else {"EventId": "1"}
            for code in (*codes, *([None] * (len(entries) - len(codes))))
        ]
        taken = [entry for entry, result in zip(entries, told, strict=True) if "EventId" in result]
        self.requests.append(taken)
        failed = len(entries) - len(taken)
        return web.json_response({"FailedEntryCount": failed, "Entries": told})


@asynccontextmanager
async def event_bus(environment: pytest.MonkeyPatch) -> AsyncIterator[EventBus]:
    """One that is listening, and that `environment` takes for AWS."""
    made = EventBus()
    async with taken_for_aws(environment, made.handle, "AKIDEXAMPLE") as made.url:
        yield made

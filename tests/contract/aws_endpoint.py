"""An endpoint in AWS's place that answers what a test tells it to, over HTTP, on a free port."""

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web


@dataclass
class Endpoint:
    """Answers requests by `answers`, in order; then by the last of them, for ever."""

    url: str = ""
    answers: deque[tuple[int, Any]] = field(default_factory=deque)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def refuse(self, code: str, status: int = 400, *, times: int = 1) -> None:
        """Answer with AWS's error of that code."""
        error = {"__type": f"com.amazonaws.sqs#{code}", "message": "because"}
        self.answers.extend([(status, error)] * times)

    def answer(self, **fields: object) -> None:
        """Answer with success."""
        self.answers.append((200, fields))

    async def handle(self, request: web.Request) -> web.Response:
        """Keep what was asked, and answer."""
        body = await request.read()
        self.requests.append(json.loads(body) if body else {})
        authorization = request.headers.get("authorization", "")
        self.keys.append(authorization.partition("Credential=")[2].partition("/")[0])
        status, told = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        return web.json_response(told, status=status)


@asynccontextmanager
async def endpoint(environment: pytest.MonkeyPatch) -> AsyncIterator[Endpoint]:
    """One that is listening, and that `environment` takes for AWS."""
    made = Endpoint()
    async with taken_for_aws(environment, made.handle, "AKIDFIRST") as made.url:
        yield made


@asynccontextmanager
async def taken_for_aws(
    environment: pytest.MonkeyPatch,
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
    access_key: str,
) -> AsyncIterator[str]:
    """The address at which `handle` answers every request, and that `environment` names as AWS."""
    application = web.Application(client_max_size=20_000_000)
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        environment.setenv(name, value)
    try:
        yield url
    finally:
        await runner.cleanup()

"""An HTTP receiver of activity events, in the process of the test, on a free port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


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

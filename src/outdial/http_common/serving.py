"""An HTTP server inside a running loop; several share one."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.applications import Starlette

from outdial.http_common.listening import url_of

#: Seconds that requests under way get to finish when a server stops.
GRACE_SECONDS = 10


@contextlib.asynccontextmanager
async def serving(app: Starlette, sock: socket.socket) -> AsyncIterator[str]:
    """Serve `app` on `sock` while the context lasts; gives its URL.

    On leaving, requests under way finish, then the application's own lifespan ends. Signals are
    none of its business.
    """
    async with app.router.lifespan_context(app):
        server = _Server(app)
        running = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            await server.up.wait()
            yield url_of(sock)
        finally:
            server.stop()
            await running


class _Server(uvicorn.Server):
    """Uvicorn, woken by events where it would poll ten times a second."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="none",
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=2048,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self.up = asyncio.Event()
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        self.should_exit = True
        self._stopped.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._stopped.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

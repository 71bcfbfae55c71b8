"""Running a simulator: listening, saying where, and stopping when told or when left alone."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator

import orjson
import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from outdial.simulator.http import RESET, Application
from outdial.simulator.settings import Settings

_PARENT_EVERY_S = 0.5
_GRACE_S = 1


def run(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM, or until the parent is gone; the process's exit code.

    A port in use is one line on stderr, and 1.
    """
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        print(f"simulator: cannot listen on {where}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    with listener, asyncio.Runner(loop_factory=_loop_factory()) as runner:
        server = _Server(settings, _url(listener))
        runner.run(server.serve(sockets=[listener]))
    return 0


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


class _Protocol(HttpToolsProtocol):
    """Lets the application reset a connection, as a network does."""

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {RESET: {"transport": self.transport}}


class _Server(uvicorn.Server):
    """Says where it listens, and leaves signals to the event loop: a stop is a clean exit."""

    def __init__(self, settings: Settings, url: str) -> None:
        super().__init__(
            uvicorn.Config(
                Application(settings),
                http=_Protocol,
                ws="none",
                lifespan="on",
                log_level="critical",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._settings = settings
        self._url = url
        self._watch: asyncio.Task[None] | None = None

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        yield

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._settings.parent_pid is not None:
            self._watch = asyncio.create_task(self._watch_parent(self._settings.parent_pid))
        if self._settings.announce_json:
            print(orjson.dumps({"simulator": self._url}).decode(), flush=True)  # noqa: T201
        else:
            print(f"Simulating Retell at {self._url} (control at {self._url}/sim)", flush=True)  # noqa: T201

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        await super().shutdown(sockets)

    async def _watch_parent(self, parent_pid: int) -> None:
        while os.getppid() == parent_pid:  # noqa: ASYNC110 - nothing tells of a parent's end
            await asyncio.sleep(_PARENT_EVERY_S)
        self._stop()

    def _stop(self) -> None:
        self.should_exit = True


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it exists."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop

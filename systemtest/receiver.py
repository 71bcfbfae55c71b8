"""The engagement service's side: a small HTTP receiver of activity events, in this process."""

import json
import threading
from collections import defaultdict
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any

from systemtest.threaded_server import ThreadedServer


@dataclass(frozen=True)
class Event:
    """An activity event that was taken."""

    id: str
    type: str
    call_id: str
    sequence: int
    attempt: int | None
    data: dict[str, Any]


class Receiver:
    """Takes events while `up`, answers 503 otherwise. `events` are in the order they came."""

    def __init__(self, port: int = 0) -> None:
        """Listens on loopback at once; port 0: a free one."""
        self.up = True
        self.events: list[Event] = []
        self.refused = 0
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Header and body leave in one packet each otherwise, 40 ms apart.
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                """Take it, or refuse."""
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(204 if receiver.take(body) else 503)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadedServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/activity"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, body: bytes) -> bool:
        """Keep one event, unless down."""
        with self._lock:
            if not self.up:
                self.refused += 1
                return False
            told = json.loads(body)
            data = told["data"]
            event = Event(
                told["id"], told["type"], told["subject"], data["sequence"], data["attempt"], data
            )
            self.events.append(event)
            return True

    def by_call(self) -> dict[str, list[Event]]:
        """Each call's events in the order they came, repetitions of an id left out."""
        seen: set[str] = set()
        calls: dict[str, list[Event]] = defaultdict(list)
        for event in list(self.events):
            if event.id not in seen:
                seen.add(event.id)
                calls[event.call_id].append(event)
        return calls

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

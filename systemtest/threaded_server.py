"""An HTTP server with a thread a connection, none of which is traced."""

import _thread
from http.server import ThreadingHTTPServer
from typing import Any


class ThreadedServer(ThreadingHTTPServer):
    """Its threads are bare ones, which `threading.settrace`, and so coverage, never hears of.

    Traced, each leaves a greenlet's state behind for the main thread to clear. Python 3.11 clears
    it in a traced callback, and goes round in it for ever where another thread ends meanwhile:
    with thousands of connections that happens.
    """

    #: A program that goes on after an outage opens hundreds of connections in a moment.
    request_queue_size = 512

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Answer on a thread of its own."""
        _thread.start_new_thread(self.process_request_thread, (request, client_address))

    def handle_error(self, *_: object) -> None:
        """Who was killed in the middle of a request is nothing to tell of."""

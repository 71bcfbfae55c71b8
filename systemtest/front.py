"""What stands before the emulator's Lambda: a queue of requests.

AWS runs as many Lambdas as there are requests at once. The emulator starts a process for each,
and a hundred of them on a small machine leave no time for anything else.
"""

import http.client
import threading
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from systemtest.threaded_server import ThreadedServer

#: Lambdas at once. One takes 60 ms, nearly all of it the emulator waiting for what it may log.
_AT_ONCE = 12
_SECONDS = 30.0
_PASSED_ON = ("content-type", "x-retell-signature")


class Front:
    """Passes POSTs on to `target`, a few at a time; `url` takes them."""

    def __init__(self, target: str) -> None:
        """Listens on a free port of loopback at once."""
        there = urlsplit(target)
        turn = threading.Semaphore(_AT_ONCE)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                """Pass it on in its turn."""
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {
                    name: self.headers[name] for name in _PASSED_ON if self.headers.get(name)
                }
                with turn:
                    connection = http.client.HTTPConnection(there.netloc, timeout=_SECONDS)
                    try:
                        connection.request("POST", there.path, body, headers)
                        answer = connection.getresponse()
                        answer.read()
                        status = answer.status
                    except (OSError, http.client.HTTPException):
                        status = 502
                    finally:
                        connection.close()
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadedServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._server.server_close()

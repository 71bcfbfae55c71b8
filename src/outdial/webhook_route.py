"""The webhook entry as a local HTTP route: the Lambda's own handler behind ASGI.

The handler only judges and normalises here; what it would forward or park goes through the
asynchronous ports, so that many webhooks share a commit and none holds up the event loop.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.routing import Route

from outdial.core.messages import EventMessage, encode_event
from outdial.errors import Unavailable
from outdial.http_common.dropping import drop
from outdial.http_common.operations import operations_routes
from outdial.http_common.problems import install
from outdial.ports.parking import Parking
from outdial.ports.queue import Outgoing, Queue
from outdial.provider_json import decode_head
from outdial.webhook_lambda import (
    MAX_BODY_BYTES,
    Codec,
    Entry,
    Response,
    refusal,
    too_large,
    unavailable,
    wall_clock,
)

PATH = "/webhooks/retell"

#: Larger bodies are judged in a thread: parsing them would hold up all others.
_LARGE = 262_144


def _encode(message: EventMessage) -> str:
    return encode_event(message, lambda value: orjson.dumps(value).decode())


#: A server has fast JSON libraries, which the Lambda goes without (measured: 0.2 ms a webhook).
_FAST = Codec(decode_head, _encode)

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


def webhook_app(keys: Sequence[str], queue: Queue, parking: Parking) -> Starlette:
    """What `serve webhook` serves: the route, health and metrics."""
    route = WebhookRoute(keys, queue, parking)
    app = _WebhookApp(
        route,
        routes=[
            Route(PATH, route, methods=["POST"]),
            *operations_routes({"event queue": queue.depth}),
        ],
    )
    install(app)
    return app


class _WebhookApp(Starlette):
    """Webhooks come by the hundred a second: they go straight to their route (a third less CPU)."""

    def __init__(self, route: "WebhookRoute", *, routes: Sequence[Route]) -> None:
        super().__init__(routes=routes)
        self._straight = route

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope.get("path") == PATH and scope.get("method") == "POST":
            await self._straight(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class WebhookRoute:
    """The ASGI application behind `POST /webhooks/retell`; path and method are its router's."""

    def __init__(
        self,
        keys: Sequence[str],
        queue: Queue,
        parking: Parking,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        """`keys`: those that may have signed; `clock` in ms since the epoch."""
        self._keys = tuple(keys)
        self._queue = queue
        self._parking = parking
        self._clock = clock

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer one request; nothing where the caller has gone."""
        try:
            body = await _read(scope, receive)
        except _TooLargeError as error:
            if not error.whole:
                await drop(scope, receive)
            # What was not read is still on the wire: no other request can follow on it.
            await _reply(send, refusal(413, str(error)), close=True)
            return
        if body is not None:
            await _reply(send, await self._answer(_function_url_event(scope, body), len(body)))

    async def _answer(self, event: dict[str, Any], size: int) -> Response:
        taken: list[str] = []
        parked: list[tuple[str, bytes]] = []
        entry = Entry(
            self._keys,
            taken.append,
            lambda key, data: parked.append((key, data)),
            self._clock,
            _FAST,
        )
        response = await asyncio.to_thread(entry, event) if size > _LARGE else entry(event)
        try:
            for key, data in parked:
                await self._parking.put(key, data)
            if taken:
                await self._queue.send([Outgoing(message) for message in taken])
        except Unavailable as error:
            return unavailable(error)
        return response


class _TooLargeError(Exception):
    """The body is over the limit, or says it will be; `whole` where all of it was read."""

    def __init__(self, detail: str, *, whole: bool = False) -> None:
        super().__init__(detail)
        self.whole = whole


async def _read(scope: _Message, receive: _Receive) -> bytes | None:
    """The body; never holds more than just over the limit. None where the caller has gone."""
    announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    if len(announced) > 18:
        raise _TooLargeError(f"over {MAX_BODY_BYTES} bytes: a length of {len(announced)} digits")
    if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
        raise _TooLargeError(too_large(int(announced)))
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if (size := len(body)) > MAX_BODY_BYTES:
            body.clear()
            raise _TooLargeError(f"{too_large(size)} so far", whole=not more)
    return bytes(body)


def _function_url_event(scope: _Message, body: bytes) -> dict[str, Any]:
    """The request as a Lambda function URL would tell it (payload 2.0)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    path = scope["path"]
    return {
        "version": "2.0",
        "rawPath": path,
        "headers": headers,
        "requestContext": {"http": {"method": scope["method"], "path": path}},
        **_told(body),
    }


def _told(body: bytes) -> dict[str, Any]:
    """As text where it is text, as function URLs do, too: base64 costs as much as the signature."""
    try:
        return {"body": body.decode("utf-8"), "isBase64Encoded": False}
    except UnicodeDecodeError:
        return {"body": base64.b64encode(body).decode("ascii"), "isBase64Encoded": True}


async def _reply(send: _Send, response: Response, *, close: bool = False) -> None:
    given: dict[str, str] = response.get("headers", {})
    headers = [(name.encode(), value.encode()) for name, value in given.items()]
    body = response.get("body", "").encode()
    if body:
        headers.append((b"content-length", str(len(body)).encode()))
    if close:
        headers.append((b"connection", b"close"))
    status = response["statusCode"]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

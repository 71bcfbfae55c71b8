"""The simulator over HTTP: a bare ASGI application, for it shares its cores with what it tests."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import orjson

from outdial.simulator import control
from outdial.simulator.faults import FaultError
from outdial.simulator.listing import list_calls
from outdial.simulator.platform import Answer, Platform
from outdial.simulator.requests import ApiError, json_object
from outdial.simulator.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

RESET = "outdial.reset"
"""Scope extension: holds the `transport` of the connection, to abort it without an answer."""
_BODY_LIMIT = 2_000_000
_JSON = [(b"content-type", b"application/json")]
_HTML = [(b"content-type", b"text/html; charset=utf-8")]


class Application:
    """Routes requests to the platform; its lifespan opens and closes it."""

    _platform: Platform

    def __init__(self, settings: Settings) -> None:
        """The platform itself is made when the server starts, in its event loop."""
        self._settings = settings
        self._bearer = f"Bearer {settings.api_key}".encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request, or the server's life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            return
        try:
            body = await _read(receive)
            answer = await self._answer(scope, body)
        except ApiError as error:
            answer = _error(error.status, error.message)
        if answer.lost == "reset":
            scope["extensions"][RESET]["transport"].abort()
            await _gone(receive)
        elif answer.lost == "hang":
            await _gone(receive)
        else:
            await _send(send, answer, _HTML if scope["path"] == "/sim" else _JSON)

    async def _answer(self, scope: Message, body: bytes) -> Answer:
        method, path = scope["method"], scope["path"]
        if path.startswith("/sim") or path == "/healthz":
            return self._control(method, path, scope["query_string"], body)
        self._authorise(scope["headers"])
        platform = self._platform
        if (method, path) == ("POST", "/v2/create-phone-call"):
            return await platform.create(body)
        if (method, path) == ("POST", "/v3/list-calls"):
            return _json(200, await list_calls(platform.store, json_object(body)))
        if (method, path) == ("GET", "/get-concurrency"):
            return _json(200, platform.limits.report())
        where, _, call_id = path.rpartition("/")
        match method, where:
            case "GET", "/v2/get-call":
                return _json(200, platform.told(platform.find(call_id)))
            case "PATCH", "/v2/update-call":
                return _json(200, await platform.update(call_id, body))
            case "POST", "/v2/stop-call":
                await platform.stop(call_id)
                return Answer(204, b"")
            case "DELETE", "/v2/delete-call":
                await platform.delete(call_id)
                return Answer(204, b"")
            case "PUT", "/rerun-call-analysis":
                return _json(201, await platform.analyse_again(call_id))
            case _:
                raise ApiError(404, f"Cannot {method} {path}")

    def _control(self, method: str, path: str, query: bytes, body: bytes) -> Answer:
        platform = self._platform
        match method, path:
            case "GET", "/sim":
                return Answer(200, control.page(platform))
            case "GET", "/sim/dials":
                asked = dict(parse_qsl(query.decode(), keep_blank_values=True))
                return _json(200, control.dials(platform, asked))
            case "GET", "/sim/stats":
                return _json(200, control.stats(platform))
            case "GET", "/sim/faults":
                return _json(200, platform.faults.as_json())
            case "POST", "/sim/faults":
                try:
                    platform.set_faults(json_object(body))
                except FaultError as error:
                    raise ApiError(400, str(error)) from None
                return _json(200, platform.faults.as_json())
            case "POST", "/sim/reset":
                platform.reset()
                return _json(200, {"status": "reset"})
            case "GET", "/healthz":
                return _json(200, {"status": "ok"})
            case _:
                raise ApiError(404, f"Cannot {method} {path}")

    def _authorise(self, headers: list[tuple[bytes, bytes]]) -> None:
        told = next((value for name, value in headers if name == b"authorization"), b"")
        if not hmac.compare_digest(told, self._bearer):
            raise ApiError(401, "API key is missing or invalid")

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._platform = Platform(self._settings)
        self._platform.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._platform.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _read(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _BODY_LIMIT:
            raise ApiError(413, "The body is too large")
    return body


async def _gone(receive: Receive) -> None:
    """Wait until the client gives up."""
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    except asyncio.CancelledError:
        return


async def _send(send: Send, answer: Answer, headers: list[tuple[bytes, bytes]]) -> None:
    length = (b"content-length", str(len(answer.body)).encode())
    told = [length] if answer.status == 204 else [*headers, length]
    await send({"type": "http.response.start", "status": answer.status, "headers": told})
    await send({"type": "http.response.body", "body": answer.body})


def _json(status: int, told: object) -> Answer:
    return Answer(status, orjson.dumps(told))


def _error(status: int, message: str) -> Answer:
    return _json(status, {"status": "error", "message": message})

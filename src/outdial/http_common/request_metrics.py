"""Counts and times every request, by its route and never by its path."""

import time
from typing import Any

from fastapi.telemetry import TelemetryConfig
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outdial.telemetry import REQUESTS

#: FastAPI's own would look for a tracer at each request (measured: 0.2 ms), and would record what
#: callers sent where it does not validate.
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


class RequestMetrics:
    """ASGI middleware; `service` names the stage."""

    def __init__(self, app: ASGIApp, service: str) -> None:
        """Wrap `app`."""
        self._app = app
        self._service = service
        self._series: dict[tuple[str, str, int], Any] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        start = time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._observe(scope, status, time.perf_counter() - start)

    def _observe(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if route != "unmatched" else "any"
        labels = (method, route, status)
        series = self._series.get(labels)
        if series is None:
            # Looking the labels up in the registry costs more than observing.
            series = REQUESTS.labels(self._service, method, route, str(status))
            self._series[labels] = series
        series.observe(seconds)

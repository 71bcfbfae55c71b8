"""Retell's SDK as we use it: one request, one answer. Imported when it is first used."""

import logging
from typing import Any
from urllib.parse import urlsplit

import httpx

from outdial.adapters.retell import lazy_types

lazy_types.install()

from retell import AsyncRetell, DefaultAioHttpClient  # noqa: E402

#: Seconds an idle connection is kept: less than any server keeps it, for a request sent into a
#: connection that is just being closed has no answer, and so leaves a doubt.
_KEEP_ALIVE = 3.0
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class _OneRequest(DefaultAioHttpClient):
    """Sends what it is given, once, and nothing because of the answer.

    A redirected request is an answer nobody understands, not one to follow; there is no log-in to
    go through and no cookie to keep. Looking for them takes a third of a request (measured).
    """

    async def send(
        self,
        request: httpx.Request,
        *,
        stream: bool = False,
        **_: Any,  # noqa: ANN401 - about log-in and redirects
    ) -> httpx.Response:
        transport = self._transport_for_url(request.url)
        response = await transport.handle_async_request(request)
        response.request = request
        if not stream:
            try:
                await response.aread()
            except BaseException:
                await response.aclose()
                raise
        return response


def client(api_key: str, base_url: str, max_connections: int) -> AsyncRetell:
    """The SDK's client; it never retries for us."""
    # It logs a line a request.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    transport = _OneRequest(
        limits=httpx.Limits(
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=_KEEP_ALIVE,
        ),
        follow_redirects=False,
        # A proxy of the environment does not lead to this machine.
        trust_env=urlsplit(base_url).hostname not in _LOOPBACK,
    )
    return AsyncRetell(api_key=api_key, base_url=base_url, max_retries=0, http_client=transport)

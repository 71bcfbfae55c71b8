"""What is left of a request that is refused: read and dropped, so that its sender hears why.

A sender that writes all of its body before it reads the answer (urllib does) would otherwise see
its connection reset, and no answer.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

#: Bytes that are read for no other use; seconds that this takes in all, and that nothing may come.
MOST_DROPPED = 33_554_432
MOST_SECONDS = 10.0
IDLE_SECONDS = 1.0

_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


async def drop(scope: MutableMapping[str, Any], receive: _Receive) -> None:
    """Read what comes, up to those limits, and keep none of it."""
    headers = dict(scope["headers"])
    announced = headers.get(b"content-length", b"")
    if len(announced) > 18 or (announced.isdigit() and int(announced) > MOST_DROPPED):
        # There is more of it than is read.
        return
    if headers.get(b"expect", b"").lower() == b"100-continue":
        # Its sender waits to be asked for the body: reading would ask.
        return
    size = 0
    try:
        async with asyncio.timeout(MOST_SECONDS):
            while size <= MOST_DROPPED:
                async with asyncio.timeout(IDLE_SECONDS):
                    message = await receive()
                size += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return

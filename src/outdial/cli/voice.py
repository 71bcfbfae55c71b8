"""The Voice API for an import, looked for anew at each request: `up` may come back elsewhere."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Self

from outdial.cli import session
from outdial.client import ApiError, BatchAnswer, Call, CallRequest, Problem

if TYPE_CHECKING:
    from outdial.client import Client
    from outdial.config import Settings


class Voice:
    """Sends each request to where the home's `up` runs then; its client does not retry."""

    def __init__(self, settings: "Settings") -> None:
        """Nothing is connected yet."""
        self._settings = settings
        self._at: tuple[str, str | None] | None = None
        self._client: Client | None = None
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def place_batch(self, calls: Sequence[CallRequest]) -> AsyncGenerator[BatchAnswer]:
        """See `Client.place_batch`."""
        client = await self._found()
        async with aclosing(client.place_batch(calls)) as answers:  # type: ignore[type-var]
            async for answer in answers:
                yield answer

    async def get(self, call_id: str) -> Call:
        """See `Client.get`."""
        return await (await self._found()).get(call_id)

    async def _found(self) -> "Client":
        at = session.url(self._settings), session.key(self._settings)
        if self._client is None or at != self._at:
            await self._open.aclose()
            try:
                self._client = await self._open.enter_async_context(
                    session.client(self._settings, retries=0)
                )
            except ApiError as error:
                if self._at is None:
                    raise
                # It was there before, and another program has its port now: `up` comes back.
                raise ApiError(Problem(0, "No answer", str(error))) from None
            self._at = at
        return self._client

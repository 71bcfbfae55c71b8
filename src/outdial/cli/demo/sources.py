"""The three sources that the demo asks: Voice API, simulator, analytics API."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from outdial.client import Client
from outdial.errors import OutdialError

_AT_ONCE = 16
_PAGE = 1_000


class Sources:
    """Asks over HTTP, as anybody from outside would."""

    def __init__(self, urls: Mapping[str, str], key: str, http: aiohttp.ClientSession) -> None:
        """`urls` by service."""
        self._urls = urls
        self._http = http
        self.voice = Client(urls["internal-api"], key)

    async def stats(self) -> dict[str, Any]:
        """The simulator's counts."""
        return await self._get("simulator", "/sim/stats")

    async def dials(self) -> list[dict[str, Any]]:
        """Every dial that the simulator really placed."""
        items: list[dict[str, Any]] = []
        query = {"limit": str(_PAGE)}
        while True:
            page = await self._get("simulator", "/sim/dials", query)
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            query["cursor"] = page["next_cursor"]

    async def overview(self) -> dict[str, Any]:
        """Every metric as one number."""
        answer = await self._get("web-api", "/v1/analytics/overview")
        return dict(answer["metrics"])

    async def outcomes(self) -> list[tuple[str, int]]:
        """Ended attempts by outcome, most frequent first."""
        query = {"by": "outcome", "metrics": "attempts"}
        answer = await self._get("web-api", "/v1/analytics/breakdown", query)
        return [(outcome, count) for outcome, count in answer["rows"] if outcome]

    async def funnel(self) -> list[dict[str, Any]]:
        """How far the calls came."""
        return list((await self._get("web-api", "/v1/analytics/funnel"))["steps"])

    async def calls(self, ids: Sequence[str], told: Callable[[int], None]) -> list[dict[str, Any]]:
        """Every call with its attempts and timeline; `told` is given how many are here."""
        found: list[dict[str, Any]] = []
        turn = asyncio.Semaphore(_AT_ONCE)

        async def get(call_id: str) -> None:
            async with turn:
                found.append((await self.voice.get(call_id)).raw)
                told(len(found))

        async with asyncio.TaskGroup() as tasks:
            for call_id in ids:
                tasks.create_task(get(call_id))
        return found

    async def _get(
        self, service: str, path: str, query: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        url = self._urls[service] + path
        try:
            async with self._http.get(url, params=query) as response:
                body = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OutdialError(f"no answer from {url}: {error}") from None
        if not response.ok:
            raise OutdialError(f"{url}: {body.get('detail') or body.get('message') or body}")
        return dict(body)


@asynccontextmanager
async def opened(urls: Mapping[str, str], key: str) -> AsyncIterator[Sources]:
    """Sources while the block lasts."""
    timeout = aiohttp.ClientTimeout(total=30)
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        sources = Sources(urls, key, http)
        try:
            yield sources
        finally:
            await sources.voice.close()

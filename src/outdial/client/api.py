"""The Voice API, one method a route."""

import asyncio
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Self
from urllib.parse import quote

from outdial.client import batch
from outdial.client.http import Connection
from outdial.client.records import (
    BatchAnswer,
    Call,
    CallRequest,
    Page,
    Pause,
    Placed,
    TimelineEntry,
    read_call,
    read_pauses,
)

#: Seconds between two looks at a call that is followed, at first and at most.
FIRST_LOOK = 0.2
LAST_LOOK = 2.0


class Client:
    """An asynchronous client; use it as a context manager. Raises `ApiError` only."""

    def __init__(self, base_url: str, api_key: str | None = None, *, retries: int = 5) -> None:
        """`base_url` such as `http://127.0.0.1:8001`; `retries` on no answer or 502, 503, 504."""
        self._connection = Connection(base_url, api_key, retries)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    async def place(self, call: CallRequest) -> Placed:
        """Place one call: it is durable when this returns.

        Without an idempotency key of its own it gets a random one, so that the retries in here
        place it once.
        """
        body, headers = await self._connection.request(
            "POST",
            "/v1/calls",
            body=call.body(),
            headers={"Idempotency-Key": call.idempotency_key or str(uuid.uuid4())},
        )
        return Placed(body["id"], body["status"], headers.get("Idempotency-Replayed") == "true")

    def place_batch(
        self, calls: Iterable[CallRequest] | AsyncIterable[CallRequest]
    ) -> AsyncIterator[BatchAnswer]:
        """Place any number of calls, streamed both ways; an answer each, in their order.

        Each is durable when its answer is given. Lost connections and a database that is away
        for a while are waited for; what was sent without an answer is sent again, safely, for
        each call has an idempotency key. A call that is refused has a `problem`; the others go on.
        """
        return batch.place(self._connection, calls)

    async def get(self, call_id: str) -> Call:
        """One call with its attempts and timeline."""
        body, _ = await self._connection.request("GET", _path(call_id))
        return read_call(body)

    async def page(
        self,
        *,
        status: str | None = None,
        external_id: str | None = None,
        campaign: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page:
        """One page of calls, newest first; `limit` from 1 to 200. Filters are ANDed."""
        asked = {
            "status": status,
            "external_id": external_id,
            "campaign": campaign,
            "cursor": cursor,
            "limit": str(limit),
        }
        query = {name: value for name, value in asked.items() if value is not None}
        body, _ = await self._connection.request("GET", "/v1/calls", query=query)
        return Page(tuple(read_call(item) for item in body["items"]), body["next_cursor"])

    async def calls(
        self,
        *,
        status: str | None = None,
        external_id: str | None = None,
        campaign: str | None = None,
    ) -> AsyncIterator[Call]:
        """All calls, newest first, a page at a time."""
        cursor: str | None = None
        while True:
            page = await self.page(
                status=status, external_id=external_id, campaign=campaign, cursor=cursor, limit=200
            )
            for call in page.items:
                yield call
            if page.next_cursor is None:
                return
            cursor = page.next_cursor

    async def cancel(self, call_id: str) -> Call:
        """Cancel a call that waits; again is no error. Status 409 once it is dialed or ended."""
        body, _ = await self._connection.request("POST", f"{_path(call_id)}/cancel")
        return read_call(body)

    async def pause(self, *, tenant: str | None = None, campaign: str | None = None) -> list[Pause]:
        """Press the stop button (scope `admin`); the pauses then in force."""
        return await self._press("pause", tenant, campaign)

    async def resume(
        self, *, tenant: str | None = None, campaign: str | None = None
    ) -> list[Pause]:
        """Lift that pause, with neither argument every pause; the pauses still in force."""
        return await self._press("resume", tenant, campaign)

    async def pauses(self) -> list[Pause]:
        """The pauses in force (scope `admin`)."""
        body, _ = await self._connection.request("GET", "/v1/pauses")
        return read_pauses(body)

    async def follow(self, call_id: str) -> AsyncIterator[TimelineEntry]:
        """What happens to a call, as it happens, from the start until its end."""
        told: set[TimelineEntry] = set()
        wait = FIRST_LOOK
        while True:
            call = await self.get(call_id)
            news = [entry for entry in call.timeline if entry not in told]
            for entry in news:
                yield entry
            if call.ended:
                return
            told.update(news)
            wait = FIRST_LOOK if news else min(wait * 1.3, LAST_LOOK)
            await asyncio.sleep(wait)

    async def _press(self, button: str, tenant: str | None, campaign: str | None) -> list[Pause]:
        asked = {"tenant": tenant, "campaign": campaign}
        body, _ = await self._connection.request(
            "POST",
            f"/v1/{button}",
            body={name: value for name, value in asked.items() if value is not None},
        )
        return read_pauses(body)


def _path(call_id: str) -> str:
    return f"/v1/calls/{quote(call_id, safe='')}"

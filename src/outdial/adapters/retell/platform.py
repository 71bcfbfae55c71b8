"""The voice platform port over Retell's own SDK.

It is handed paths and bodies, and gives its raw responses. Its typed methods would take the body
apart and put it together again (what is sent was fixed when the call was claimed), read an answer
less tolerantly than we do, and load 50 MB of types; a test holds every request of ours against
theirs. It never retries for us: who asks decides.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from outdial.core.lenient_json import decode_object
from outdial.core.retell_events import ATTEMPT_KEY, CALL_KEY, DEPLOYMENT_KEY, parse
from outdial.core.submission import Placed, Submission, Unanswered, from_status
from outdial.errors import Unavailable
from outdial.ports.platform import Concurrency, ListedCall

if TYPE_CHECKING:
    import httpx
    from retell import AsyncRetell

BASE_URL = "https://api.retellai.com"

_Order = Literal["ascending", "descending"]

_PAGE = 100
#: The most that Retell gives at once, for who reads everything.
_LONG_PAGE = 1000
_MAX_TEXT = 300
_NOT_RETELLS = "the answer is not Retell's; is the base URL right?"

_PHONE_NUMBER = re.compile(
    r"\+\d[\d ().-]{5,}\d"
    r"|(?<![\w-])\d{10,15}(?![\w-])"
    r"|(?<![\w-])\(?\d{3}\)?[ .-]{1,2}\d{3}[ .-]\d{4}(?![\w-])"
)


class RetellPlatform:
    """Retell (or the simulator) over HTTP. Belongs to the event loop that first uses it."""

    def __init__(
        self,
        api_key: str,
        base_url: str | None = None,
        *,
        max_connections: int = 100,
        patience: float = 15.0,
    ) -> None:
        """`max_connections`: requests under way at once; more wait for one to end.

        `patience`: seconds for one question; a submission brings its own.
        """
        self._api_key = api_key
        self._base_url = base_url or BASE_URL
        self._max_connections = max(max_connections, 10)
        self._patience = patience
        self._loading = asyncio.Lock()
        self._client: AsyncRetell | None = None

    async def warm_up(self) -> None:
        """Load the SDK, in a thread: importing it takes a while. Otherwise the first use does."""
        await self._loaded()

    async def submit(self, body: Mapping[str, Any], timeout: float) -> Submission:
        """See the port."""
        try:
            async with asyncio.timeout(timeout):
                client = await self._loaded()
                answer = await self._placing(client, body, timeout)
        except TimeoutError:
            return Unanswered(f"no answer within {timeout:g} s")
        return answer

    async def find_attempt(self, attempt_id: str) -> list[str]:
        """See the port."""
        # Taken for "absent" or for another's call, a wrong answer would dial twice.
        pages = self._listed(ATTEMPT_KEY, attempt_id, _PAGE)
        return [item["call_id"] async for page in pages for item in page]

    async def calls_of(
        self, deployment: str, *, newest_first: bool = False
    ) -> AsyncIterator[list[ListedCall]]:
        """See the port."""
        order: _Order = "descending" if newest_first else "ascending"
        async for page in self._listed(DEPLOYMENT_KEY, deployment, _LONG_PAGE, order):
            yield [
                ListedCall(
                    item["call_id"],
                    _metadata_of(item, CALL_KEY),
                    _metadata_of(item, ATTEMPT_KEY),
                    parse({"call": item}).started_at,
                )
                for item in page
            ]

    async def get_call(self, retell_call_id: str) -> dict[str, Any] | None:
        """See the port."""
        return await self._ask("GET", "/v2/get-call/{}", retell_call_id, unless={404, 422})

    async def stop_call(self, retell_call_id: str) -> None:
        """See the port."""
        unless = {400, 404, 409, 422}
        await self._ask("POST", "/v2/stop-call/{}", retell_call_id, unless=unless)

    async def concurrency(self) -> Concurrency:
        """See the port."""
        told = await self._ask("GET", "/get-concurrency")
        current, limit = (
            (told or {}).get(name) for name in ("current_concurrency", "concurrency_limit")
        )
        reserved = (told or {}).get("reserved_inbound_concurrency") or 0
        if not (isinstance(current, int) and isinstance(limit, int) and isinstance(reserved, int)):
            raise Unavailable("Retell", "get-concurrency named no lines")
        return Concurrency(current, limit, reserved)

    async def close(self) -> None:
        """See the port."""
        if self._client is not None:
            await self._client.close()

    async def _loaded(self) -> "AsyncRetell":
        async with self._loading:
            if self._client is None:
                self._client = await asyncio.to_thread(
                    _opened, self._api_key, self._base_url, self._max_connections
                )
            return self._client

    async def _placing(
        self, client: "AsyncRetell", body: Mapping[str, Any], timeout: float
    ) -> Submission:
        import httpx  # noqa: PLC0415 - loaded by now
        from retell import APIStatusError, RetellError  # noqa: PLC0415

        try:
            response = await client.post(
                "/v2/create-phone-call",
                cast_to=httpx.Response,
                body=dict(body),
                options={"timeout": timeout, "max_retries": 0},
            )
        except APIStatusError as error:
            message = _retells_message(error.response)
            return from_status(
                error.status_code,
                self._line(_NOT_RETELLS if message is None else message),
                retells=message is not None,
            )
        except (RetellError, OSError, TypeError, ValueError, RecursionError) as error:
            return Unanswered(self._line(_root(error)))
        call_id = (decode_object(response.content) or {}).get("call_id")
        if not isinstance(call_id, str) or not call_id:
            return Unanswered(f"HTTP {response.status_code} without a call id")
        return Placed(call_id)

    async def _listed(
        self, key: str, value: str, limit: int, order: _Order = "ascending"
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Calls with this metadata, by their start; `Unavailable` for any other."""
        wanted = {"key": key, "type": "string", "op": "eq", "value": value}
        asked = {"filter_criteria": {"metadata": [wanted]}, "sort_order": order, "limit": limit}
        while True:
            page = await self._page(asked)
            for item in page["items"]:
                call_id = item.get("call_id")
                if _metadata_of(item, key) != value or not isinstance(call_id, str) or not call_id:
                    raise Unavailable("Retell", "list-calls answered what it was not asked for")
            yield page["items"]
            if not page.get("has_more"):
                return
            asked["pagination_key"] = page["pagination_key"]

    async def _page(self, asked: dict[str, Any]) -> dict[str, Any]:
        page = await self._ask("POST", "/v3/list-calls", body=asked)
        items = (page or {}).get("items")
        if (
            page is None
            or not isinstance(items, list)
            or not all(isinstance(item, dict) for item in items)
            or (page.get("has_more") and not isinstance(page.get("pagination_key"), str))
        ):
            raise Unavailable("Retell", "list-calls answered no page of calls")
        return page

    async def _ask(
        self,
        method: Literal["GET", "POST"],
        path: str,
        call_id: str | None = None,
        *,
        body: dict[str, Any] | None = None,
        unless: frozenset[int] | set[int] = frozenset(),
    ) -> dict[str, Any] | None:
        """The decoded answer; None for Retell's own answers with a status in `unless`.

        `call_id` is put into the path.
        """
        client = await self._loaded()
        import httpx  # noqa: PLC0415 - loaded by now
        from retell import APIStatusError, RetellError  # noqa: PLC0415

        options: Any = {"timeout": self._patience, "max_retries": 0}
        try:
            if call_id is not None:
                path = path.format(_segment(call_id))
            async with asyncio.timeout(self._patience):
                response = await (
                    client.get(path, cast_to=httpx.Response, options=options)
                    if method == "GET"
                    else client.post(path, cast_to=httpx.Response, body=body, options=options)
                )
        except TimeoutError:
            raise Unavailable("Retell", f"no answer within {self._patience:g} s") from None
        except APIStatusError as error:
            message = _retells_message(error.response)
            # A 404 is anybody's: taken for Retell's, it would make calls vanish.
            if error.status_code in unless and (error.status_code != 404 or message is not None):
                return None
            raise Unavailable("Retell", self._told(error.status_code, message)) from None
        except (RetellError, OSError, TypeError, ValueError) as error:
            raise Unavailable("Retell", self._line(_root(error))) from None
        content = response.content
        decoded = decode_object(content)
        if decoded is None and content:
            raise Unavailable("Retell", "the answer is no JSON object")
        return decoded

    def _told(self, status: int, message: str | None) -> str:
        return self._line(f"HTTP {status}: {_NOT_RETELLS if message is None else message}")

    def _line(self, text: str) -> str:
        """One line without the key and without phone numbers."""
        line = " ".join(text.split()).replace(self._api_key, "[key]")
        return _PHONE_NUMBER.sub("[number]", line)[:_MAX_TEXT]


def _opened(api_key: str, base_url: str, max_connections: int) -> "AsyncRetell":
    from outdial.adapters.retell.sdk import client  # noqa: PLC0415 - it imports the SDK

    return client(api_key, base_url, max_connections)


def _segment(call_id: str) -> str:
    """One segment of a path; `ValueError` for what could not be one."""
    if not call_id.strip("."):
        raise ValueError(f"no call has the id {call_id!r}")
    return quote(call_id, safe="")


def _retells_message(response: "httpx.Response") -> str | None:
    """The text of an error of Retell's form; None where the answer is somebody else's."""
    told = decode_object(response.content)
    if told is None or told.get("status") != "error":
        return None
    message = told.get("message", "")
    return message if isinstance(message, str) else json.dumps(message)


def _metadata_of(item: Mapping[str, Any], key: str) -> str | None:
    metadata = item.get("metadata")
    value = metadata.get(key) if isinstance(metadata, Mapping) else None
    return value if isinstance(value, str) else None


def _root(error: BaseException) -> str:
    """What went wrong at the bottom: the SDK's own text is only "Connection error."."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__

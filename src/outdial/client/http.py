"""Requests with retries: what may be asked again safely is, with a growing pause between."""

import asyncio
import random
from typing import Any, Self

import aiohttp
import orjson

from outdial.client.problems import OURS, ApiError, foreign, read_problem, unanswered

#: Seconds for connecting, and of silence from a server that has been asked.
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 60.0
#: Longest line of a batch's answers, in bytes.
LONGEST_LINE = 1_048_576
#: Longest pause before asking again, in seconds.
LONGEST_PAUSE = 15.0


class Connection:
    """An HTTP session with one API, under one key."""

    def __init__(self, base_url: str, api_key: str | None, retries: int) -> None:
        """`retries`: how often a request is repeated on no answer or 502, 503, 504."""
        self.base_url = base_url.rstrip("/")
        self.retries = retries
        self._headers = {"Accept": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open session."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers,
                read_bufsize=LONGEST_LINE,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
                ),
            )
        return self._session

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[Any, Any]:
        """Decoded JSON and headers of a 2xx; `ApiError` otherwise, after the retries."""
        for tried in range(self.retries + 1):
            try:
                return await self._once(method, path, body, query, headers)
            except ApiError as error:
                if tried == self.retries or not error.problem.passing:
                    raise
                await pause(tried, error)
        raise AssertionError  # pragma: no cover - the loop returns or raises

    async def _once(
        self,
        method: str,
        path: str,
        body: object,
        query: dict[str, str] | None,
        headers: dict[str, str] | None,
    ) -> tuple[Any, Any]:
        sent = dict(headers or {})
        data = None
        if body is not None:
            data = orjson.dumps(body)
            sent["Content-Type"] = "application/json"
        try:
            async with self.session.request(
                method, self.base_url + path, data=data, params=query, headers=sent
            ) as response:
                if not response.ok:
                    raise await refusal(response)
                answer = decode(await response.read())
                if not isinstance(answer, dict):
                    raise foreign(self.base_url, "it answers with something else than its JSON")
                return answer, response.headers
        except (aiohttp.ClientError, TimeoutError) as error:
            raise unanswered(self.base_url, error) from error


def decode(body: bytes) -> Any:  # noqa: ANN401 - JSON is any of its kinds
    """Parsed JSON; None where it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


async def refusal(response: aiohttp.ClientResponse) -> ApiError:
    """What an answer that is no 2xx says."""
    problem = read_problem(response.status, decode(await response.read()))
    nothing_here = problem.status == 404 and problem.detail == _nothing_at(response)
    if not problem.passing and (not problem.type.startswith(OURS) or nothing_here):
        what = f"it answers HTTP {problem.status}"
        return foreign(str(response.url.origin()), what, problem.status)
    after = response.headers.get("Retry-After", "")
    return ApiError(problem, float(after) if after.isdecimal() else None)


def _nothing_at(response: aiohttp.ClientResponse) -> str:
    # What another of our services says of a path that only the Voice API has.
    return f"there is nothing at {response.url.path}"


async def pause(tried: int, error: ApiError) -> None:
    """Wait before the next try: as long as the API asks for, else doubling, with jitter."""
    seconds = error.retry_after if error.retry_after is not None else 0.25 * 2**tried
    await asyncio.sleep(min(seconds, LONGEST_PAUSE) * random.uniform(0.75, 1.25))  # noqa: S311

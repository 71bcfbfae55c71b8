"""What is asked of the SDK besides its typed methods, held against them, and its late types."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from retell import AsyncRetell

from outdial.adapters.retell import RetellPlatform
from outdial.core.retell_events import ATTEMPT_KEY, DEPLOYMENT_KEY
from tests.unit.test_retell_adapter import KEY, REQUEST, Server, http, server

__all__ = ["server"]

_PAGE = {"items": [], "has_more": False}


def _filter(key: str, value: str) -> Any:
    return {"metadata": [{"key": key, "type": "string", "op": "eq", "value": value}]}


async def _all(pages: AsyncIterator[object]) -> None:
    async for _ in pages:
        pass


_Ours = Callable[[RetellPlatform], Awaitable[object]]
_Theirs = Callable[[AsyncRetell], Awaitable[object]]
CASES: dict[str, tuple[object, _Ours, _Theirs]] = {
    "submit": (
        {"call_id": "call_1"},
        lambda platform: platform.submit(
            {name: value for name, value in REQUEST.items() if name != "a_field_of_tomorrow"}, 5
        ),
        lambda sdk: sdk.call.create_phone_call(
            from_number="+14155550100",
            to_number="+14155550123",
            metadata={ATTEMPT_KEY: "attempt_1"},
            extra_body={"idempotency_key": "attempt_1"},
        ),
    ),
    "get": (
        {"call_id": "call_1"},
        lambda platform: platform.get_call("call 1/?&"),
        lambda sdk: sdk.call.retrieve("call 1/?&"),
    ),
    "stop": (
        {},
        lambda platform: platform.stop_call("call_1"),
        lambda sdk: sdk.call.stop("call_1"),
    ),
    "find": (
        _PAGE,
        lambda platform: platform.find_attempt("attempt_1"),
        lambda sdk: sdk.call.list(
            filter_criteria=_filter(ATTEMPT_KEY, "attempt_1"), sort_order="ascending", limit=100
        ),
    ),
    "list": (
        _PAGE,
        lambda platform: _all(platform.calls_of("deployment_1", newest_first=True)),
        lambda sdk: sdk.call.list(
            filter_criteria=_filter(DEPLOYMENT_KEY, "deployment_1"),
            sort_order="descending",
            limit=1000,
        ),
    ),
    "concurrency": (
        {"current_concurrency": 1, "concurrency_limit": 20},
        lambda platform: platform.concurrency(),
        lambda sdk: sdk.concurrency.retrieve(),
    ),
}


def _parts(request: bytes) -> tuple[bytes, dict[str, str], object]:
    """The request line, the headers that say what is asked, and the decoded body."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    told = dict(header.decode().lower().split(": ", 1) for header in headers)
    kept = {name: told.get(name, "") for name in ("authorization", "content-type")}
    return line, kept, json.loads(body) if body else None


@pytest.mark.parametrize("name", CASES)
async def test_asks_as_the_typed_method_does(server: Server, name: str) -> None:
    """Method, path, key and body are those that the SDK's own method sends."""
    answer, ours, theirs = CASES[name]
    server.answers = [http(200, answer, "content-type: application/json")] * 2
    platform = RetellPlatform(KEY, server.url)
    await ours(platform)
    await platform.close()
    async with AsyncRetell(api_key=KEY, base_url=server.url, max_retries=0) as sdk:
        await theirs(sdk)
    mine, its = map(_parts, server.requests)
    assert mine == its


@pytest.mark.parametrize("call_id", ["", ".", ".."])
async def test_an_id_that_is_no_part_of_a_path_asks_nothing(server: Server, call_id: str) -> None:
    """It would ask for something else."""
    platform = RetellPlatform(KEY, server.url)
    with pytest.raises(Exception, match="no call has the id"):
        await platform.get_call(call_id)
    await platform.close()
    assert server.requests == []


_LATE = """
import sys
from outdial.adapters.retell.sdk import client
sdk = client("key", "http://127.0.0.1:1", 1)
import retell
loaded = [name for name in sys.modules if name.startswith("retell.types.")]
assert not loaded, loaded
assert retell.types.call_response.CallResponse
assert "retell.types.agent_response" not in sys.modules
try:
    retell.types.nothing_of_this_name
except AttributeError as error:
    assert "nothing_of_this_name" in str(error)
else:
    raise AssertionError
from retell.types import AgentResponse, PhoneCallResponse
assert AgentResponse is retell.types.AgentResponse is retell.types.agent_response.AgentResponse
assert sdk.call.create_phone_call and sdk.agent.list
"""
_EARLY = """
import retell
whole = retell.types
from outdial.adapters.retell.sdk import client
import retell.types
assert retell.types is whole
"""


@pytest.mark.parametrize("script", [_LATE, _EARLY], ids=["late", "early"])
def test_types_are_loaded_when_they_are_asked_for(script: str) -> None:
    """Dialing loads none of them; whoever names one gets it, and who came first keeps his."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()

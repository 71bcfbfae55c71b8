"""Facts about placing calls: answers, keys, limits and refusals, seen through the real SDK."""

import asyncio
import io

import pytest
import retell

from tests.simulator.running import FROM, Caller, Launch, Receiver

NUMBER = "+14155550123"
STATUSES = {
    400: retell.BadRequestError,
    401: retell.AuthenticationError,
    402: retell.APIStatusError,
    403: retell.PermissionDeniedError,
    422: retell.UnprocessableEntityError,
    429: retell.RateLimitError,
    500: retell.InternalServerError,
}


async def test_create_answers_registered(caller: Caller) -> None:
    """A create is answered 201 with a registered call, before anything is dialed."""
    answer = await caller.retell.call.with_raw_response.create_phone_call(
        from_number=FROM, to_number=NUMBER, override_agent_id="agent_7", override_agent_version=3
    )
    call = await answer.parse()
    assert answer.status_code == 201
    assert (call.call_status, call.direction, call.call_type) == (
        "registered",
        "outbound",
        "phone_call",
    )
    assert (call.agent_id, call.agent_version, call.to_number) == ("agent_7", 3, NUMBER)
    assert call.metadata is None


async def test_key_places_one_call(caller: Caller) -> None:
    """The same key again, also with other words, is the same call and no second dial."""
    first = await caller.dial(idempotency_key="k", metadata={"n": "1"})
    assert await caller.dial(idempotency_key="k", metadata={"n": "2"}) == first
    assert len(await caller.dials()) == 1
    assert (await caller.get("/sim/stats"))["keys_replayed"] == 1


async def test_key_at_once(caller: Caller) -> None:
    """Twenty requests with one key at the same moment place one call."""
    calls = await asyncio.gather(*(caller.dial(idempotency_key="k") for _ in range(20)))
    assert len(set(calls)) == 1
    assert len(await caller.dials()) == 1


async def test_without_key_each_request_dials(caller: Caller) -> None:
    """Two identical requests without a key are two dials."""
    assert await caller.dial() != await caller.dial()
    assert len(await caller.dials(to_number=NUMBER)) == 2


async def test_key_dials_again_after_its_window(launch: Launch, receiver: Receiver) -> None:
    """After the window, on the wall clock, the same key dials again."""
    caller = Caller(launch(idempotency_window=0.3), receiver)
    first = await caller.dial(idempotency_key="k")
    assert await caller.dial(idempotency_key="k") == first
    await asyncio.sleep(0.35)  # the fact itself is about time
    assert await caller.dial(idempotency_key="k") != first
    await caller.close()


async def test_wrong_key(caller: Caller, receiver: Receiver) -> None:
    """A wrong API key is 401 in Retell's form, and nothing is placed."""
    stranger = Caller(caller.simulator, receiver, api_key="wrong")
    with pytest.raises(retell.AuthenticationError) as refused:
        await stranger.dial()
    await stranger.close()
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["status"] == "error"
    assert refused.value.body["message"]
    assert await caller.dials() == []


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"to_number": NUMBER},
        {"from_number": FROM, "to_number": "555"},
        {"from_number": "x", "to_number": NUMBER},
        {"metadata": "text"},
        {"metadata": {"big": "x" * 50_001}},
        {"metadata": {"sim_outcome": "abducted"}},
        {"metadata": {"sim_talk_ms": -1}},
        {"retell_llm_dynamic_variables": {"n": 1}},
        {"custom_sip_headers": []},
        {"override_agent_version": 1.5},
        {"agent_override": "x"},
        {"agent_override": {"agent": {"webhook_url": "ftp://x"}}},
        {"idempotency_key": 7},
    ],
)
async def test_bad_bodies(caller: Caller, body: object) -> None:
    """What Retell would not understand is 400 with a message, and places nothing."""
    if isinstance(body, dict) and not {"to_number", "from_number"} & set(body):
        body = {"from_number": FROM, "to_number": NUMBER, **body}
    headers = {"authorization": f"Bearer {caller.retell.api_key}"}
    async with caller.http.post("/v2/create-phone-call", json=body, headers=headers) as answer:
        assert answer.status == 400
        told = await answer.json()
    assert told["status"] == "error"
    assert told["message"]
    assert await caller.dials() == []


async def test_broken_json(caller: Caller) -> None:
    """A body that is no JSON is 400; one over the limit 413; an unknown path 404."""
    headers = {"authorization": f"Bearer {caller.retell.api_key}"}
    for data, path, status in (
        (b"{", "/v2/create-phone-call", 400),
        (io.BytesIO(b"x" * 3_000_000), "/v2/create-phone-call", 413),
        (b"", "/v2/nowhere", 404),
        (b"", "/sim/nowhere", 404),
    ):
        async with caller.http.post(path, data=data, headers=headers) as answer:
            assert answer.status == status


async def test_from_number_may_be_internal(caller: Caller) -> None:
    """`ignore_e164_validation` lets any from_number through."""
    call = await caller.retell.call.create_phone_call(
        from_number="reception", to_number=NUMBER, ignore_e164_validation=True
    )
    assert call.from_number == "reception"


@pytest.mark.parametrize(("status", "error"), STATUSES.items())
async def test_create_status(caller: Caller, status: int, error: type[Exception]) -> None:
    """`create_status` answers every create with that status and places nothing."""
    await caller.faults(create_status=status)
    with pytest.raises(error) as refused:
        await caller.dial()
    assert isinstance(refused.value, retell.APIStatusError)
    assert refused.value.status_code == status
    await caller.faults(create_status=0)
    assert await caller.dials() == []
    assert (await caller.get("/sim/stats"))["creates"] == {str(status): 1}
    await caller.dial()


@pytest.mark.parametrize("status", [400, 401, 402, 403, 422, 429])
async def test_numbers_that_are_refused(caller: Caller, status: int) -> None:
    """+1 500 555 0<status> is refused with that status and not placed."""
    with pytest.raises(retell.APIStatusError) as refused:
        await caller.dial(f"+15005550{status}")
    assert refused.value.status_code == status
    assert await caller.dials() == []


async def test_do_not_call(caller: Caller) -> None:
    """The do-not-call number is 400 only where `honor_internal_dnc` asks for it."""
    with pytest.raises(retell.BadRequestError):
        await caller.dial("+15005550188", honor_internal_dnc=True)
    await caller.dial("+15005550188")


@pytest.mark.parametrize("fault", ["lost_response", "error_after_commit"])
async def test_placed_but_not_told(caller: Caller, fault: str) -> None:
    """The call is placed though the client hears nothing of it; its key then finds it."""
    await caller.faults(**{fault: 1})
    number = "+14155550124"
    with pytest.raises((retell.APIConnectionError, retell.InternalServerError)):
        await caller.dial(number, idempotency_key="k", timeout=2)
    await caller.faults(**{fault: 0})
    (dialed,) = await caller.dials()
    assert await caller.dial(number, idempotency_key="k") == dialed["call_id"]
    assert len(await caller.dials()) == 1


@pytest.mark.parametrize("number", ["+15005550500", "+15005550504"])
async def test_numbers_whose_answer_is_lost(caller: Caller, number: str) -> None:
    """+1 500 555 0500 and 0504 are placed, then 500 or a lost answer; the key finds the call."""
    with pytest.raises((retell.APIConnectionError, retell.InternalServerError)):
        await caller.dial(number, idempotency_key="k", timeout=2)
    (dialed,) = await caller.dials()
    assert await caller.dial(number, idempotency_key="k") == dialed["call_id"]


async def test_hang(caller: Caller) -> None:
    """With `sim_hang` a lost response hangs until the client gives up, and the call is placed."""
    await caller.faults(lost_response=1)
    with pytest.raises(retell.APITimeoutError):
        await caller.dial(metadata={"sim_hang": True}, timeout=0.3)
    assert len(await caller.dials()) == 1


async def test_lost_request(caller: Caller) -> None:
    """`lost_request` resets its share of connections, and nothing is placed."""
    await caller.faults(lost_request=1)
    with pytest.raises(retell.APIConnectionError):
        await caller.dial()
    assert await caller.dials() == []


async def test_rate_limited(caller: Caller) -> None:
    """`rate_limited` refuses its share with 429, without placing; keys already placed as well."""
    await caller.dial(idempotency_key="k")
    await caller.faults(rate_limited=1)
    for key in ("k", "l"):
        with pytest.raises(retell.RateLimitError):
            await caller.dial(idempotency_key=key)
    assert len(await caller.dials()) == 1


async def test_concurrency_limit(launch: Launch, receiver: Receiver) -> None:
    """Over the concurrency limit 429 by default; get-concurrency tells both figures."""
    caller = Caller(launch(concurrency=2, speed=1), receiver)
    calls = [await caller.dial(f"+1415555012{n}") for n in range(2)]
    with pytest.raises(retell.RateLimitError):
        await caller.dial("+14155550129")
    told = await caller.retell.concurrency.retrieve()
    assert (told.current_concurrency, told.concurrency_limit) == (2, 2)
    assert told.reserved_inbound_concurrency == 0
    await caller.retell.call.stop(calls[0])
    await caller.dial("+14155550129")
    await caller.close()


async def test_rate_limit(launch: Launch, receiver: Receiver) -> None:
    """Over the rate 429: at one call a second the second call at once is refused."""
    caller = Caller(launch(rate=1), receiver)
    await caller.dial()
    with pytest.raises(retell.RateLimitError):
        await caller.dial()
    await caller.close()


@pytest.mark.parametrize("limit", [{"concurrency": 1}, {"rate": 0.001}])
async def test_accept_then_end(launch: Launch, receiver: Receiver, limit: dict[str, float]) -> None:
    """In the other mode it is accepted, then ends with `concurrency_limit_reached`, unrung."""
    caller = Caller(launch(speed=1, **limit), receiver)
    await caller.faults(limit_mode="accept_then_end")
    await caller.dial(metadata={"sim_talk_ms": 60_000})
    refused = await caller.dial("+14155550199")
    events = await receiver.count(2)
    assert [event["event"] for event in events] == ["call_ended", "call_analyzed"]
    for event in events:
        assert event["call"]["call_id"] == refused
        assert event["call"]["call_status"] == "error"
        assert event["call"]["disconnection_reason"] == "concurrency_limit_reached"
        assert "start_timestamp" not in event["call"]
    assert [dial["rang"] for dial in await caller.dials()] == [True, False]
    await caller.close()

"""Facts about reading back and changing calls: get, list, stop, update, delete."""

from typing import Any

import pytest
import retell

from tests.simulator.running import FROM, Caller, Launch, Receiver

ANSWERED, VOICEMAIL, NO_ANSWER, BUSY = (f"+1500555010{n}" for n in (1, 2, 3, 4))
LONG: dict[str, Any] = {"sim_talk_ms": 86_000_000, "sim_outcome": "answered"}


async def listed(caller: Caller, **criteria: Any) -> list[str]:
    """The numbers of the calls that fit, oldest first."""
    told = await caller.retell.call.list(
        filter_criteria=criteria,  # type: ignore[arg-type]
        sort_order="ascending",
    )
    return [item.to_number for item in told.items if item.call_type == "phone_call"]


@pytest.fixture
async def four(caller: Caller) -> list[str]:
    """Four calls that are over, one of each fate; their ids."""
    numbers = (ANSWERED, VOICEMAIL, NO_ANSWER, BUSY)
    calls = [
        await caller.dial(
            number,
            metadata={"n": str(at), "odd": bool(at % 2), "at": at, "sim_talk_ms": at * 1000 + 5000},
            retell_llm_dynamic_variables={"name": f"Name {at}"},
            override_agent_id=f"agent_{at % 2}",
        )
        for at, number in enumerate(numbers)
    ]
    await caller.settled()
    return calls


async def test_get_call_follows_the_call(caller: Caller, receiver: Receiver) -> None:
    """get-call tells the stage the call is in, and in the end all that the webhooks told."""
    call_id = await caller.dial(ANSWERED, metadata={"sim_talk_ms": 1_500_000})
    await receiver.count(1)
    ongoing = await caller.retell.call.retrieve(call_id)
    assert (ongoing.call_status, ongoing.end_timestamp) == ("ongoing", None)
    await receiver.count(3)
    over = await caller.retell.call.retrieve(call_id)
    last = receiver.events[-1]["call"]
    assert over.to_dict(exclude_unset=True) == last


async def test_unknown_call(caller: Caller) -> None:
    """An id that nobody has is 422 for every request about one call."""
    for ask in (
        caller.retell.call.retrieve("call_x"),
        caller.retell.call.stop("call_x"),
        caller.retell.call.delete("call_x"),
        caller.retell.call.update("call_x", metadata={}),
        caller.retell.call.rerun_analysis("call_x"),
    ):
        with pytest.raises(retell.UnprocessableEntityError):
            await ask


async def test_list_by_metadata(caller: Caller, four: list[str]) -> None:
    """A metadata key and value find our own call, and none of another."""
    told = await caller.retell.call.list(
        filter_criteria={"metadata": [{"key": "n", "type": "string", "op": "eq", "value": "2"}]}
    )
    assert [item.call_id for item in told.items] == [four[2]]
    assert not told.has_more
    assert told.total is None


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        ({}, [ANSWERED, VOICEMAIL, NO_ANSWER, BUSY]),
        ({"to_number": {"type": "string", "op": "eq", "value": BUSY}}, [BUSY]),
        (
            {"to_number": {"type": "string", "op": "ne", "value": BUSY}},
            [ANSWERED, VOICEMAIL, NO_ANSWER],
        ),
        ({"to_number": {"type": "string", "op": "ew", "value": "0102"}}, [VOICEMAIL]),
        ({"to_number": {"type": "string", "op": "co", "value": "5550104"}}, [BUSY]),
        ({"from_number": {"type": "string", "op": "sw", "value": "+2"}}, []),
        (
            {"call_status": {"type": "enum", "op": "in", "value": ["not_connected"]}},
            [NO_ANSWER, BUSY],
        ),
        (
            {"disconnection_reason": {"type": "enum", "op": "in", "value": ["dial_busy"]}},
            [BUSY],
        ),
        ({"duration_ms": {"type": "number", "op": "gt", "value": 5000}}, [VOICEMAIL]),
        ({"duration_ms": {"type": "number", "op": "ge", "value": 5000}}, [ANSWERED, VOICEMAIL]),
        ({"duration_ms": {"type": "number", "op": "lt", "value": 1}}, [NO_ANSWER, BUSY]),
        ({"duration_ms": {"type": "number", "op": "le", "value": 0}}, [NO_ANSWER, BUSY]),
        ({"duration_ms": {"type": "range", "op": "bt", "value": [4999, 5001]}}, [ANSWERED]),
        ({"in_voicemail": {"type": "boolean", "op": "eq", "value": True}}, [VOICEMAIL]),
        ({"call_successful": {"type": "boolean", "op": "eq", "value": True}}, [ANSWERED]),
        ({"agent": [{"agent_id": "agent_0"}]}, [ANSWERED, NO_ANSWER]),
        ({"agent": [{"agent_id": "agent_0", "version": [9]}]}, []),
        ({"metadata": [{"key": "odd", "type": "boolean", "op": "eq", "value": True}]},
         [VOICEMAIL, BUSY]),
        ({"metadata": [{"key": "at", "type": "number", "op": "ge", "value": 2}]},
         [NO_ANSWER, BUSY]),
        ({"metadata": [{"key": "none", "type": "present", "op": "pr"}]}, []),
        ({"metadata": [{"key": "at", "type": "string", "op": "eq", "value": "2"}]}, []),
        ({"dynamic_variables": [{"key": "name", "type": "string", "op": "eq", "value": "Name 3"}]},
         [BUSY]),
        ({"custom_analysis_data": [{"key": "interview_slot", "type": "present", "op": "pr"}]},
         [ANSWERED]),
        # A call that never connected has no start, and time filters miss it.
        ({"start_timestamp": {"type": "number", "op": "gt", "value": 0}}, [ANSWERED, VOICEMAIL]),
        (
            {
                "metadata": [{"key": "odd", "type": "boolean", "op": "eq", "value": False}],
                "call_status": {"type": "enum", "op": "in", "value": ["ended"]},
            },
            [ANSWERED],
        ),
    ],
)  # fmt: skip
async def test_list_filters(
    caller: Caller, four: list[str], criteria: dict[str, Any], found: list[str]
) -> None:
    """Filters are typed and ANDed."""
    assert sorted(await listed(caller, **criteria)) == sorted(found)


async def test_list_by_ids(caller: Caller, four: list[str]) -> None:
    """Several calls are found by their ids."""
    told = await caller.retell.call.list(
        filter_criteria={"call_id": {"type": "enum", "op": "in", "value": [four[0], four[3], "x"]}}
    )
    assert {item.call_id for item in told.items} == {four[0], four[3]}


async def test_list_leaves_transcripts_out(caller: Caller, four: list[str]) -> None:
    """Items carry the analysis and the cost, but no transcript fields."""
    told = await caller.retell.call.list()
    for item in told.items:
        fields = item.to_dict()
        assert not [name for name in fields if "transcript" in name]
        assert {"call_analysis", "call_cost", "metadata"} <= set(fields)


async def test_list_pages(caller: Caller) -> None:
    """An opaque cursor walks through all calls, each once, newest first; the total is on demand."""
    calls = [await caller.dial(f"+1415555{n:04d}") for n in range(7)]
    seen: list[str] = []
    key: dict[str, Any] = {}
    while True:
        page = await caller.retell.call.list(limit=3, include_total=True, **key)
        assert page.total == 7
        seen += [item.call_id for item in page.items]
        assert page.has_more == (len(seen) < 7)
        if not page.has_more:
            break
        key = {"pagination_key": page.pagination_key}
    assert sorted(seen) == sorted(calls)
    skipped = await caller.retell.call.list(limit=3, skip=5)
    assert [item.call_id for item in skipped.items] == seen[5:]
    backwards = await caller.retell.call.list(sort_order="ascending")
    assert [item.call_id for item in backwards.items] == seen[::-1]


@pytest.mark.parametrize(
    "body",
    [
        {"limit": 0},
        {"limit": 1001},
        {"skip": -1},
        {"sort_order": "sideways"},
        {"pagination_key": "abc"},
        {"filter_criteria": []},
        {"filter_criteria": {"shoe_size": {"type": "number", "op": "eq", "value": 43}}},
        {"filter_criteria": {"to_number": "x"}},
        {"filter_criteria": {"to_number": {"type": "number", "op": "eq", "value": 1}}},
        {"filter_criteria": {"to_number": {"type": "string", "op": "in", "value": "x"}}},
        {"filter_criteria": {"to_number": {"type": "string", "op": "eq", "value": 1}}},
        {"filter_criteria": {"duration_ms": {"type": "range", "op": "bt", "value": [1]}}},
        {"filter_criteria": {"call_status": {"type": "enum", "op": "in", "value": ["registered"]}}},
        {"filter_criteria": {"metadata": {"key": "x"}}},
        {"filter_criteria": {"metadata": [{"type": "present", "op": "pr"}]}},
        {"filter_criteria": {"agent": [{}]}},
    ],
)
async def test_list_refuses(caller: Caller, body: dict[str, Any]) -> None:
    """What cannot be understood is 400 with a message."""
    headers = {"authorization": f"Bearer {caller.retell.api_key}"}
    async with caller.http.post("/v3/list-calls", json=body, headers=headers) as answer:
        assert answer.status == 400
        assert (await answer.json())["message"]


async def test_stop_while_talking(caller: Caller, receiver: Receiver) -> None:
    """A stopped call ends at once as `manual_stopped`, with the time it had; again is no error."""
    call_id = await caller.dial(metadata=LONG)
    await receiver.count(1)
    await caller.retell.call.stop(call_id)
    await receiver.count(3)
    await caller.retell.call.stop(call_id)
    call = await caller.retell.call.retrieve(call_id)
    assert (call.call_status, call.disconnection_reason) == ("ended", "manual_stopped")
    assert call.duration_ms is not None
    assert call.duration_ms < LONG["sim_talk_ms"]
    assert receiver.names == ["call_started", "call_ended", "call_analyzed"]


async def test_stop_while_ringing(launch: Launch, receiver: Receiver) -> None:
    """A call stopped before it is answered never connects."""
    caller = Caller(launch(speed=1), receiver)
    call_id = await caller.dial(metadata=LONG)
    await caller.retell.call.stop(call_id)
    (ended,) = await receiver.count(1)
    assert ended["event"] == "call_ended"
    assert ended["call"]["call_status"] == "not_connected"
    assert (await caller.retell.concurrency.retrieve()).current_concurrency == 0
    await caller.close()


async def test_update(caller: Caller, receiver: Receiver) -> None:
    """update-call changes metadata, attributes and storage of a call that is over, no other."""
    call_id = await caller.dial(metadata=LONG | {"a": "1"})
    with pytest.raises(retell.BadRequestError):
        await caller.retell.call.update(call_id, metadata={"a": "2"})
    await receiver.count(1)
    await caller.retell.call.stop(call_id)
    changed = await caller.retell.call.update(
        call_id,
        metadata={"a": "2"},
        custom_attributes={"tier": "gold"},
        data_storage_setting="everything_except_pii",
    )
    assert changed.metadata == {"a": "2"}
    for value, found in (("1", []), ("2", [call_id])):
        told = await caller.retell.call.list(
            filter_criteria={
                "metadata": [{"key": "a", "type": "string", "op": "eq", "value": value}],
                "data_storage_setting": {
                    "type": "enum",
                    "op": "in",
                    "value": ["everything_except_pii"],
                },
            }
        )
        assert [item.call_id for item in told.items] == found
    with pytest.raises(retell.BadRequestError):
        await caller.retell.call.update(call_id, data_storage_setting="everything")


async def test_delete(caller: Caller, four: list[str]) -> None:
    """A deleted call is gone for the API, but `/sim/dials` still tells that it was dialed."""
    await caller.retell.call.delete(four[0])
    with pytest.raises(retell.UnprocessableEntityError):
        await caller.retell.call.retrieve(four[0])
    assert len((await caller.retell.call.list()).items) == 3
    assert [dial["call_id"] for dial in await caller.dials()] == four


async def test_analysis_again_too_early(caller: Caller) -> None:
    """A call that is not analyzed yet cannot be analyzed again."""
    call_id = await caller.dial(metadata=LONG)
    with pytest.raises(retell.BadRequestError):
        await caller.retell.call.rerun_analysis(call_id)


async def test_what_was_asked_is_kept(caller: Caller) -> None:
    """SIP headers and variables come back with the call."""
    call = await caller.retell.call.create_phone_call(
        from_number=FROM,
        to_number=ANSWERED,
        custom_sip_headers={"X-A": "b"},
        retell_llm_dynamic_variables={"name": "Ada"},
    )
    again = await caller.retell.call.retrieve(call.call_id)
    assert again.custom_sip_headers == {"X-A": "b"}
    assert again.retell_llm_dynamic_variables == {"name": "Ada"}

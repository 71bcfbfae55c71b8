"""One call through the Voice API: placed, shown, listed, cancelled."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from outdial.core.call import CallStatus
from outdial.internal_api import Defaults
from outdial.ports.keys import Scope
from tests.flow.voice_api import FROM, JSON, TO, VoiceApi, voice_api

KEY = "Idempotency-Key"


@pytest.fixture
async def api(ledger_url: str) -> AsyncIterator[VoiceApi]:
    """The service on a ledger of the test's own."""
    async with voice_api(ledger_url) as running:
        yield running


def later(**delta: float) -> str:
    """RFC 3339, some time from now."""
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


async def test_a_call_is_accepted_with_its_place(api: VoiceApi) -> None:
    """202 names the call's id, status and address, and the call is in the ledger by then."""
    answer = await api.place(external_id="candidate-7", campaign="night")
    assert answer.status == 202
    body = answer.json
    assert body == {
        "id": body["id"],
        "status": "queued",
        "external_id": "candidate-7",
        "campaign": "night",
    }
    assert answer.headers["Location"] == f"/v1/calls/{body['id']}"
    assert await api.ledger.intake.get("acme", body["id"]) is not None


async def test_every_field_comes_back(api: VoiceApi) -> None:
    """What a call was placed with is what it is shown with, times in UTC."""
    fields: dict[str, Any] = {
        "from_number": "+14155550199",
        "agent_id": "agent_1",
        "agent_version": "7",
        "dynamic_variables": {"name": "Ada", "line": "a\nb"},
        "metadata": {"job": "123", "deep": {"list": [1, 2.5, None, True, "é"]}},
        "external_id": "candidate-7",
        "campaign": "night nurses",
        "time_zone": "America/New_York",
    }
    placed = await api.place(
        **fields, not_before="2199-01-01T12:00:00+02:00", expires_at="2199-01-02T00:00:00.5z"
    )
    assert placed.json["status"] == "scheduled"
    shown = (await api.ask("GET", placed.headers["Location"])).json
    assert shown | fields == shown
    assert shown["not_before"] == "2199-01-01T10:00:00.000Z"
    assert shown["expires_at"] == "2199-01-02T00:00:00.500Z"
    assert shown["to_number"] == TO
    assert shown["reason"] is None
    assert shown["attempts"] == []
    assert [entry["kind"] for entry in shown["timeline"]] == ["accepted"]
    assert shown["created_at"].endswith("Z")


async def test_a_whole_number_is_an_agent_version(api: VoiceApi) -> None:
    """An integer version is kept as text."""
    for version in (3, 3.0):
        placed = await api.place(agent_version=version)
        assert (await api.ask("GET", placed.headers["Location"])).json["agent_version"] == "3"


async def test_defaults_fill_what_the_call_leaves_out(api: VoiceApi) -> None:
    """Caller number and agent come from the configuration where the call names none."""
    placed = await api.place()
    shown = (await api.ask("GET", placed.headers["Location"])).json
    assert (shown["from_number"], shown["agent_id"]) == (FROM, "agent_default")


async def test_the_same_key_and_body_give_the_same_call(api: VoiceApi) -> None:
    """Spaces, the order of keys, and 1 for 1.0 make no other body."""
    first = await api.ask(
        "POST",
        "/v1/calls",
        b'{"to_number": "+14155550123", "metadata": {"a": 1.0, "b": [2]}}',
        JSON | {KEY: "once"},
    )
    again = await api.ask(
        "POST",
        "/v1/calls",
        b'{"metadata":{"b":[2],"a":1},\n "to_number":"+14155550123"}',
        JSON | {KEY: "once"},
    )
    assert (first.status, again.status) == (202, 202)
    assert first.json["id"] == again.json["id"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert await api.stored() == 1


async def test_two_keys_are_refused(api: VoiceApi) -> None:
    """A retry with the one that was not taken would be another call."""
    async with api.session.post(
        f"{api.url}/v1/calls",
        json={"to_number": TO},
        headers=[(KEY, "one"), (KEY, "two"), ("Authorization", f"Bearer {api.secret}")],
    ) as answer:
        assert answer.status == 422
        fault = {"pointer": KEY, "detail": "is given twice: a request has one key"}
        assert (await answer.json())["errors"] == [fault]
    assert await api.stored() == 0


async def test_the_same_key_and_another_body_are_refused(api: VoiceApi) -> None:
    """422 names the key and the call it stands for; nothing is stored."""
    first = await api.place({KEY: "once"})
    other = await api.place({KEY: "once"}, campaign="other")
    assert other.status == 422
    assert other.json["type"] == "urn:outdial:problem:idempotency-key-reused"
    assert other.pointers == {KEY}
    assert first.json["id"] in other.json["detail"]
    assert await api.stored() == 1


async def test_whitespace_around_a_key_is_no_part_of_it(api: VoiceApi) -> None:
    """A key with optional whitespace around it is the key without."""
    first = await api.place({KEY: "once"})
    again = await api.place({KEY: " \tonce \t"})
    assert again.json["id"] == first.json["id"]


async def test_keys_of_two_tenants_do_not_meet(api: VoiceApi) -> None:
    """The same key of another tenant is another key."""
    other = await api.key(*Scope, tenant="other")
    body = {"to_number": TO}
    first = await api.ask("POST", "/v1/calls", body, {KEY: "once"})
    second = await api.ask("POST", "/v1/calls", body, {KEY: "once"}, other)
    assert first.json["id"] != second.json["id"]


async def test_a_repetition_is_answered_whatever_has_changed_since(ledger_url: str) -> None:
    """A call that would be refused now is not, where the same request was accepted before."""
    async with voice_api(ledger_url) as api:
        first = await api.place({KEY: "once"})
    async with voice_api(ledger_url, defaults=Defaults()) as api:
        again = await api.place({KEY: "once"})
        assert (again.status, again.json) == (202, first.json)
        other = await api.place({KEY: "once"}, campaign="x")
        fresh = await api.place({KEY: "new"})
        assert (other.status, fresh.status) == (422, 422)


async def test_many_at_once_are_each_stored_once(api: VoiceApi) -> None:
    """Requests that come together share commits, and each gets its own call."""
    answers = await asyncio.gather(*(api.place(external_id=f"e{n}") for n in range(60)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 60
    assert [answer.json["external_id"] for answer in answers] == [f"e{n}" for n in range(60)]
    assert await api.stored() == 60
    assert len(api.intake.commits) < 60


async def test_a_key_used_at_once_places_one_call(api: VoiceApi) -> None:
    """The same request ten times at the same moment is one call."""
    answers = await asyncio.gather(*(api.place({KEY: "once"}) for _ in range(10)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert await api.stored() == 1


async def test_a_caller_that_goes_away_leaves_a_whole_call_or_none(api: VoiceApi) -> None:
    """Connections cut at any moment: what is stored can be shown and is published."""
    tasks = [asyncio.create_task(api.place(external_id=f"e{n}")) for n in range(30)]
    for n, task in enumerate(tasks):
        await asyncio.sleep(0)
        if n % 2:
            task.cancel()
    await asyncio.wait(tasks)
    whole = {task.result().json["id"] for task in tasks if not task.cancelled()}
    page = await api.ledger.intake.page("acme", limit=200)
    assert whole <= {call.id for call in page.items}
    assert all(call.status is CallStatus.QUEUED for call in page.items)


async def test_lists_are_paged_newest_first(api: VoiceApi) -> None:
    """Cursors lead through every call once; the last page has none."""
    placed = [(await api.place(external_id=f"e{n}")).json["id"] for n in range(5)]
    seen: list[str] = []
    path = "/v1/calls?limit=2"
    cursor = ""
    while True:
        page = (await api.ask("GET", path + cursor)).json
        seen += [item["id"] for item in page["items"]]
        assert all("attempts" not in item for item in page["items"])
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == placed[::-1]


async def test_lists_are_filtered(api: VoiceApi) -> None:
    """Filters are ANDed."""
    await api.place(external_id="a", campaign="x")
    await api.place(external_id="b", campaign="x")
    await api.place(external_id="a", campaign="y", not_before=later(days=1))

    async def count(query: str) -> int:
        return len((await api.ask("GET", f"/v1/calls?{query}")).json["items"])

    assert await count("external_id=a") == 2
    assert await count("campaign=x") == 2
    assert await count("status=scheduled") == 1
    assert await count("external_id=a&campaign=x&status=queued") == 1
    assert await count("external_id=nobody") == 0


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "status=ringing",
        "cursor=none-of-ours",
        "cursor=%00",
        "cursor=%F0%9F%98%80",
        "external_id=%00",
        "external_id=",
        "statsu=failed",
        "status=queued&status=completed",
    ],
)
async def test_a_bad_list_query_is_refused(api: VoiceApi, query: str) -> None:
    """422 names the parameter, also one that is not known."""
    answer = await api.ask("GET", f"/v1/calls?{query}")
    assert answer.status == 422
    assert answer.pointers == {f"?{query.partition('=')[0]}"}


async def test_a_waiting_call_is_cancelled_once(api: VoiceApi) -> None:
    """200, and again 200 with the same call."""
    path = (await api.place()).headers["Location"]
    first = await api.ask("POST", f"{path}/cancel")
    again = await api.ask("POST", f"{path}/cancel")
    assert (first.status, again.status) == (200, 200)
    assert first.json == again.json
    assert first.json["status"] == "cancelled"
    assert first.json["timeline"][-1]["kind"] == "voice_call.not_placed"


async def test_a_call_being_dialed_is_not_cancelled(api: VoiceApi) -> None:
    """409 says that it is under way."""
    placed = await api.place()
    claims = await api.ledger.dialing.claim([placed.json["id"]])
    assert len(claims) == 1
    answer = await api.ask("POST", f"{placed.headers['Location']}/cancel")
    assert answer.status == 409
    assert "dialing" in answer.json["detail"]


async def test_no_such_call(api: VoiceApi) -> None:
    """404 for an id that is none of ours, and for what is no id at all."""
    for call_id in ("0197bb9e-0000-7000-8000-000000000000", "nonsense", "%00", "a" * 500):
        assert (await api.ask("GET", f"/v1/calls/{call_id}")).status == 404
        assert (await api.ask("POST", f"/v1/calls/{call_id}/cancel")).status == 404


async def test_without_any_caller_number_both_remedies_are_named(ledger_url: str) -> None:
    """422 names the field and the variable."""
    async with voice_api(ledger_url, defaults=Defaults()) as api:
        answer = await api.place()
        assert answer.status == 422
        assert answer.pointers == {"#/from_number"}
        assert "OUTDIAL_DEFAULT_FROM_NUMBER" in answer.text
        assert (await api.place(from_number=FROM)).status == 202


async def test_the_database_away_is_a_503_with_nothing_done(api: VoiceApi) -> None:
    """503 says when to ask again; nothing is stored and nothing hinted."""
    api.intake.commits_left = 0
    answer = await api.place()
    assert answer.status == 503
    assert answer.headers["Retry-After"].isdigit()
    assert answer.json["type"] == "urn:outdial:problem:unavailable"
    assert "refused" not in answer.text
    assert await api.stored() == 0
    assert await api.hinted() == []
    api.intake.commits_left = 10
    assert (await api.place()).status == 202

"""`outdial.client` against the real service."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from outdial.client import ApiError, CallRequest, Client
from tests.flow.voice_api import FROM, TO, VoiceApi, voice_api


@pytest.fixture
async def api(ledger_url: str) -> AsyncIterator[VoiceApi]:
    """The service on a ledger of the test's own."""
    async with voice_api(ledger_url) as running:
        yield running


@pytest.fixture
async def client(api: VoiceApi) -> AsyncIterator[Client]:
    """A client of it that does not try twice."""
    async with Client(f"{api.url}/", api.secret, retries=0) as connected:
        yield connected


async def test_a_call_is_placed_once_and_read_back(client: Client) -> None:
    """Typed fields both ways; the same key replays."""
    soon = datetime.now(UTC) + timedelta(days=1)
    request = CallRequest(
        TO, metadata={"job": 1}, campaign="night", not_before=soon, idempotency_key="once"
    )
    first, again = await client.place(request), await client.place(request)
    assert (first.status, first.replayed, again.replayed) == ("scheduled", False, True)
    assert first.id == again.id
    call = await client.get(first.id)
    assert (call.to_number, call.from_number, call.campaign) == (TO, FROM, "night")
    assert call.metadata == {"job": 1}
    assert call.not_before is not None
    assert abs(call.not_before - soon) < timedelta(milliseconds=2)
    assert not call.ended
    assert [entry.kind for entry in call.timeline] == ["accepted"]


async def test_calls_are_listed_through_all_pages(api: VoiceApi, client: Client) -> None:
    """More than a page holds, each once."""
    answers = [answer async for answer in client.place_batch(CallRequest(TO) for _ in range(450))]
    placed = {answer.id for answer in answers}
    assert len(placed) == 450
    listed = [call.id async for call in client.calls(status="queued")]
    assert len(listed) == 450
    assert set(listed) == placed
    page = await client.page(limit=3)
    assert len(page.items) == 3
    assert page.next_cursor is not None


async def test_a_refusal_carries_its_problem(client: Client) -> None:
    """One exception; its text is one line, its problem names every fault."""
    with pytest.raises(ApiError) as caught:
        await client.place(CallRequest("1", from_number="2"))
    problem = caught.value.problem
    assert problem.status == 422
    assert {fault.pointer for fault in problem.errors} == {"#/to_number", "#/from_number"}
    assert "#/to_number" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_batch_answers_each_call_in_order(client: Client) -> None:
    """Good and bad ones, from an asynchronous source; the bad ones have their problem."""

    async def source() -> AsyncIterator[CallRequest]:
        for n in range(20):
            yield CallRequest(TO if n % 5 else "bad", external_id=str(n))

    answers = [answer async for answer in client.place_batch(source())]
    assert [answer.index for answer in answers] == list(range(20))
    bad = [answer for answer in answers if answer.problem]
    assert [answer.index for answer in bad] == [0, 5, 10, 15]
    assert {answer.problem.status for answer in bad if answer.problem} == {422}
    assert [call.external_id async for call in client.calls(external_id="7")] == ["7"]


async def test_a_batch_answers_while_its_source_waits(client: Client) -> None:
    """The first answer comes before the second call is given."""
    answered = asyncio.Event()

    async def source() -> AsyncIterator[CallRequest]:
        yield CallRequest(TO)
        await answered.wait()
        yield CallRequest(TO)

    seen = 0
    async with asyncio.timeout(20):
        async for answer in client.place_batch(source()):
            assert answer.id
            seen += 1
            answered.set()
    assert seen == 2


async def test_an_empty_batch_asks_nothing(client: Client) -> None:
    """No call, no answer."""
    assert [answer async for answer in client.place_batch([])] == []


async def test_what_the_source_raises_reaches_the_caller(client: Client) -> None:
    """After the answers to what it gave before."""

    def source() -> Iterator[CallRequest]:
        yield CallRequest(TO)
        raise KeyError("row 2")

    answers = client.place_batch(source())
    assert (await anext(answers)).id
    with pytest.raises(KeyError, match="row 2"):
        await anext(answers)


async def test_leaving_a_batch_early_is_clean(client: Client) -> None:
    """Breaking off stops the source too, however much it still has."""
    generator = client.place_batch(CallRequest(TO) for _ in range(10_000_000))
    async for _ in generator:
        break
    await generator.aclose()  # type: ignore[attr-defined]


async def test_a_call_is_cancelled_and_followed_to_its_end(client: Client) -> None:
    """Following tells what has happened, and ends with the call."""
    placed = await client.place(CallRequest(TO))
    follower = client.follow(placed.id)
    first = await anext(follower)
    assert first.kind == "accepted"
    assert (await client.cancel(placed.id)).ended
    assert [entry.kind async for entry in follower] == ["voice_call.not_placed"]


async def test_pauses_are_pressed_and_lifted(client: Client) -> None:
    """Each answer is what is in force then."""
    await client.pause(tenant="acme", campaign="x")
    assert len(await client.pause()) == 2
    assert [pause.campaign for pause in await client.resume(campaign="y")] == ["x", None]
    assert await client.resume() == await client.pauses() == []


async def test_a_database_away_for_a_moment_is_waited_for(
    api: VoiceApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that meets 503s half-way goes on: each call is placed once, in order."""
    monkeypatch.setattr("outdial.client.http.LONGEST_PAUSE", 0.01)
    api.intake.commits_left = 1

    async def source() -> AsyncIterator[CallRequest]:
        for n in range(600):
            yield CallRequest(TO, external_id=str(n))
            if n % 100 == 0:
                await asyncio.sleep(0)

    answers = []
    async with Client(api.url, api.secret, retries=50) as client:
        async for answer in client.place_batch(source()):
            answers.append(answer)
            api.intake.commits_left = 1 if len(answers) < 300 else 1000
    assert [answer.index for answer in answers] == list(range(600))
    assert all(answer.id for answer in answers)
    assert sum(api.intake.commits) == 600

"""What every voice platform promises, run on the fake and on Retell's SDK over HTTP."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from outdial.core.retell_events import ATTEMPT_KEY, CALL_KEY, DEPLOYMENT_KEY
from outdial.core.submission import Placed, Refused, Submission, Suspended, Throttled, Unanswered
from outdial.errors import Unavailable
from outdial.ports.platform import ListedCall
from tests.contract import platforms
from tests.contract.platforms import LIMIT, Subject

TIMEOUT = 5.0


@pytest.fixture(params=platforms.ALL, ids=lambda adapter: adapter.__name__)
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    """Each platform in turn."""
    adapter: platforms.Platforms = request.param
    async with adapter(tmp_path) as made:
        yield made


def request_of(attempt_id: str) -> dict[str, Any]:
    """A create-phone-call request as the call processor writes it."""
    return {
        "from_number": "+14155550100",
        "to_number": "+14155550123",
        "metadata": {"job": "123", ATTEMPT_KEY: attempt_id},
        "retell_llm_dynamic_variables": {"name": "Zoë"},
        "idempotency_key": attempt_id,
    }


async def submit(subject: Subject, attempt_id: str) -> Submission:
    """Submit one attempt."""
    return await subject.platform.submit(request_of(attempt_id), TIMEOUT)


async def place(subject: Subject, attempt_id: str | None = None) -> str:
    """Submit one attempt that is placed; its call id."""
    placed = await submit(subject, attempt_id or str(uuid.uuid4()))
    assert isinstance(placed, Placed)
    return placed.retell_call_id


async def test_places_a_call(subject: Subject) -> None:
    """A submission dials once and gives the platform's id of the call."""
    call_id = await place(subject)
    assert await subject.dials() == [call_id]


async def test_one_dial_a_key(subject: Subject) -> None:
    """The same request again gives the same call and dials nobody; another key dials."""
    attempt = str(uuid.uuid4())
    first = await place(subject, attempt)
    assert await place(subject, attempt) == first
    assert await place(subject) != first
    assert len(await subject.dials()) == 2


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (400, Refused),
        (403, Refused),
        (422, Refused),
        (401, Suspended),
        (402, Suspended),
        (429, Throttled),
        (500, Unanswered),
        (503, Unanswered),
    ],
)
async def test_statuses(subject: Subject, status: int, answer: type[Submission]) -> None:
    """A refused submission is told for what it proves, and has dialed nobody."""
    await subject.answer_with(status)
    assert isinstance(await submit(subject, str(uuid.uuid4())), answer)
    assert await subject.dials() == []


async def test_a_lost_answer_is_found(subject: Subject) -> None:
    """A call whose answer was lost is unanswered, found by its attempt, and not dialed again."""
    attempt = str(uuid.uuid4())
    await subject.lose_answers()
    lost = await subject.platform.submit(request_of(attempt), 2.0)
    assert isinstance(lost, Unanswered)
    await subject.heal()
    (call_id,) = await subject.platform.find_attempt(attempt)
    assert await place(subject, attempt) == call_id
    assert await subject.dials() == [call_id]


async def test_finds_only_what_was_asked_for(subject: Subject) -> None:
    """A look-up gives no other attempt's calls, and nothing for an attempt never submitted."""
    attempt = str(uuid.uuid4())
    await place(subject)
    assert await subject.platform.find_attempt(attempt) == []
    call_id = await place(subject, attempt)
    assert await subject.platform.find_attempt(attempt) == [call_id]


async def test_reads_a_call_back(subject: Subject) -> None:
    """The call object has its id, a status and the metadata that was sent."""
    attempt = str(uuid.uuid4())
    call_id = await place(subject, attempt)
    call = await subject.platform.get_call(call_id)
    assert call is not None
    assert call["call_id"] == call_id
    assert call["metadata"] == {"job": "123", ATTEMPT_KEY: attempt}
    assert call["call_status"] in {"registered", "ongoing", "not_connected", "ended"}


async def test_an_unknown_call(subject: Subject) -> None:
    """An unknown call is None to read, and nothing to stop."""
    assert await subject.platform.get_call("call_unknown") is None
    await subject.platform.stop_call("call_unknown")


async def test_stops_a_call(subject: Subject) -> None:
    """A stopped call is under way no more; stopping it again is no error."""
    call_id = await place(subject)
    await subject.platform.stop_call(call_id)
    await subject.platform.stop_call(call_id)
    call = await subject.platform.get_call(call_id)
    assert call is not None
    assert call["call_status"] in {"not_connected", "ended", "error"}


async def test_counts_lines(subject: Subject) -> None:
    """Lines in use are the calls under way; the limits are the platform's own."""
    before = await subject.platform.concurrency()
    await place(subject)
    after = await subject.platform.concurrency()
    assert (before.current, after.current) == (0, 1)
    assert after.limit == LIMIT
    assert after.reserved_inbound == 0


async def test_a_platform_away(subject: Subject) -> None:
    """While nothing answers a submission is in doubt, and every question is `Unavailable`."""
    await place(subject)
    await subject.vanish()
    assert isinstance(await submit(subject, str(uuid.uuid4())), Unanswered)
    for question in (
        subject.platform.find_attempt("attempt"),
        subject.platform.get_call("call"),
        subject.platform.stop_call("call"),
        subject.platform.concurrency(),
    ):
        with pytest.raises(Unavailable):
            await question


async def test_lists_the_calls_of_a_deployment(subject: Subject) -> None:
    """Each with the ids that its metadata names, oldest first; others' calls are left out."""
    ours = []
    for number in range(3):
        body = request_of(f"attempt-{number}")
        body["metadata"] |= {DEPLOYMENT_KEY: "ours", CALL_KEY: f"call-{number}"}
        placed = await subject.platform.submit(body, TIMEOUT)
        assert isinstance(placed, Placed)
        ours.append(ListedCall(placed.retell_call_id, f"call-{number}", f"attempt-{number}"))
    body = request_of("theirs")
    body["metadata"][DEPLOYMENT_KEY] = "theirs"
    await subject.platform.submit(body, TIMEOUT)
    assert [one async for page in subject.platform.calls_of("ours") for one in page] == ours


async def test_a_list_that_can_not_be_had_says_so(subject: Subject) -> None:
    """It is not empty then."""
    await subject.vanish()
    with pytest.raises(Unavailable):
        [page async for page in subject.platform.calls_of("ours")]

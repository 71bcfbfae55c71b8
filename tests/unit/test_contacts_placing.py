"""A stream of rows through the batch route, when the API is away, refuses, or answers half."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import pytest

from outdial.client import ApiError, BatchAnswer, CallRequest, Fault, Problem
from outdial.contacts import placing
from outdial.contacts.placing import Placing
from outdial.contacts.reader import Row


class FakeApi:
    """Keeps calls by key; does wrong what `troubles` says, one a request."""

    def __init__(self, *troubles: object) -> None:
        """A trouble: after so many answers no more come (int), or a problem at once."""
        self.calls: dict[str, CallRequest] = {}
        self.asked: list[int] = []
        self._troubles = list(troubles)

    async def place_batch(self, calls: Sequence[CallRequest]) -> AsyncIterator[BatchAnswer]:
        """See `Client.place_batch`."""
        self.asked.append(len(calls))
        trouble = self._troubles.pop(0) if self._troubles else None
        if isinstance(trouble, Problem):
            raise ApiError(trouble)
        for index, call in enumerate(calls):
            key = str(call.idempotency_key)
            known = self.calls.setdefault(key, call)
            if index == trouble:
                # Stored, and its answer lost.
                raise ApiError(Problem(0, "No answer"))
            if known.body() != call.body():
                kind = "urn:outdial:problem:idempotency-key-reused"
                yield BatchAnswer(index, problem=Problem(422, "Unprocessable", type=kind))
            elif call.campaign == "refused":
                faults = (Fault("#/campaign", "is refused"),)
                yield BatchAnswer(index, problem=Problem(422, "Unprocessable", errors=faults))
            else:
                yield BatchAnswer(
                    index, id=f"id-{key}", status="queued", replayed=known is not call
                )


def rows(count: int, **fields: str) -> Iterator[Row]:
    """Rows that can all be placed."""
    for number in range(2, count + 2):
        request = {"to_number": f"+1212555{number:04}", "idempotency_key": f"k{number}", **fields}
        yield Row(number, [request["to_number"]], request)


def judged(line: Mapping[str, Any]) -> str | None:
    """Refuses numbers that end with 3, and campaigns called `bad`."""
    faults = ["number: odd"] if line["to_number"].endswith("3") else []
    faults += ["campaign: bad"] if line.get("campaign") == "bad" else []
    return "; ".join(faults) or None


class Run:
    """One import against a fake API."""

    def __init__(self, api: FakeApi) -> None:
        """Collects what it is told."""
        self.rejected: list[tuple[int, str]] = []
        self.waits: list[str] = []
        self.placing = Placing(
            api,
            lambda row, reason: self.rejected.append((row.row, reason)),
            lambda: None,
            lambda error: self.waits.append(str(error)),
            judged,
        )


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not wait as long as people would."""
    monkeypatch.setattr(placing, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(placing, "LAST_WAIT", 0.002)


async def test_all_rows_are_placed_in_requests_of_some() -> None:
    """Rows go out some at a time, so that a file of any length fits."""
    api, count = FakeApi(), placing.ROWS * 2 + 7
    run = Run(api)
    tally = await run.placing.run(rows(count))
    assert (tally.rows, tally.accepted, len(api.calls)) == (count, count, count)
    assert api.asked == [placing.ROWS, placing.ROWS, 7]


async def test_an_api_that_breaks_off_is_asked_for_the_rest() -> None:
    """What was not answered is asked again; nothing is counted twice, nothing is left out."""
    api = FakeApi(3, 0, Problem(503, "Unavailable"), 2)
    run = Run(api)
    tally = await run.placing.run(rows(10))
    assert tally.accepted + tally.replayed == tally.rows == len(api.calls) == 10
    assert api.asked == [10, 7, 7, 7, 5]
    assert tally.rejected == 0


async def test_an_api_that_is_down_is_told_of_once_a_time() -> None:
    """Waiting is announced when it begins, not at every try."""
    down = Problem(0, "No answer", "no answer from http://127.0.0.1:8001")
    run = Run(FakeApi(down, down, down, Problem(429, "Too many")))
    tally = await run.placing.run(rows(3))
    assert tally.accepted == 3
    assert run.waits == ["no answer from http://127.0.0.1:8001"]


@pytest.mark.parametrize("status", [401, 403, 400])
async def test_what_waiting_does_not_mend_ends_the_import(status: int) -> None:
    """A wrong key stays wrong."""
    with pytest.raises(ApiError):
        await Run(FakeApi(Problem(status, "No"))).placing.run(rows(placing.ROWS * 3))


async def test_refusals_are_rejected_rows_with_every_fault() -> None:
    """A row that the API refuses is given back with what is wrong with it."""
    run = Run(FakeApi())
    tally = await run.placing.run(rows(2, campaign="refused"))
    assert tally.rejected == 2
    assert run.rejected[0] == (2, "campaign: is refused")


async def test_other_details_under_a_known_key_are_told_as_such() -> None:
    """A row changed since it was placed is not placed again, and the reason says why."""
    api = FakeApi()
    await Run(api).placing.run(rows(1))
    run = Run(api)
    tally = await run.placing.run(rows(1, external_id="other"))
    assert tally.rejected == 1
    assert run.rejected[0][1].startswith("placed before with other details")


async def test_again_everything_is_replayed() -> None:
    """The second import of the same rows accepts none anew."""
    api = FakeApi()
    await Run(api).placing.run(rows(5))
    tally = await Run(api).placing.run(rows(5))
    assert (tally.accepted, tally.replayed) == (0, 5)


async def test_bad_rows_and_duplicates_are_never_sent() -> None:
    """Rows without a request go to the rejected file and not to the API."""
    api = FakeApi()
    run = Run(api)
    tally = await run.placing.run(
        iter(
            [
                Row(2, [""], reason="no number"),
                Row(3, ["x"], reason="the same person as row 2", duplicate_of=2),
                Row(4, ["{}"], {"to_number": "+12125550123", "colour": "red"}),
            ]
        )
    )
    assert (tally.rows, tally.rejected, tally.duplicates, api.asked) == (3, 2, 1, [])
    assert run.rejected[2][1].startswith("unknown field colour")


def test_a_check_places_nothing() -> None:
    """`--dry-run` judges every row and sends none."""
    api = FakeApi()
    run = Run(api)
    tally = run.placing.check(rows(placing.ROWS + 1))
    assert (tally.accepted, tally.rejected, api.asked) == (226, 25, [])


async def test_a_row_is_told_all_its_faults_at_once() -> None:
    """What the API would refuse too is told with what keeps a row from getting there."""
    run = Run(FakeApi())
    await run.placing.run(
        iter(
            [
                Row(2, [""], reason="no number", draft={"campaign": "bad"}),
                Row(3, [""], reason="no number", draft={"campaign": "good"}),
                Row(4, [""], {"to_number": "+12125550124", "colour": "red", "campaign": "bad"}),
            ]
        )
    )
    assert [reason for _, reason in run.rejected] == [
        "no number; campaign: bad",
        "no number",
        "unknown field colour; what the agent says goes into dynamic_variables; campaign: bad",
    ]


async def test_large_rows_go_out_fewer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request stays small whatever rows hold."""
    monkeypatch.setattr(placing, "BYTES", 30)
    api = FakeApi()
    await Run(api).placing.run(rows(7))
    assert api.asked == [3, 3, 1]

"""A stream of rows through the batch route, when the API is away, refuses, or answers half."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from outdial.client import ApiError, BatchAnswer, CallRequest, Fault, Problem
from outdial.contacts import placing
from outdial.contacts.identity import Identity
from outdial.contacts.placing import Placing
from outdial.contacts.reader import Row


class FakeApi:
    """Keeps calls by key; does wrong what `troubles` says, one a request."""

    def __init__(self, *troubles: object) -> None:
        """A trouble: after so many answers no more come (int), or a problem at once."""
        self.calls: dict[str, CallRequest] = {}
        self.asked: list[int] = []
        self.away = False
        self._troubles = list(troubles)

    async def place_batch(self, calls: Sequence[CallRequest]) -> AsyncIterator[BatchAnswer]:
        """See `Client.place_batch`."""
        self.asked.append(len(calls))
        trouble = self._troubles.pop(0) if self._troubles else None
        if isinstance(trouble, Problem):
            raise ApiError(trouble)
        for index, call in enumerate(calls):
            key = str(call.idempotency_key)
            if call.campaign == "refused" or call.time_zone == "refused":
                faults = (Fault("#/campaign", "is refused"),)
                yield BatchAnswer(index, problem=Problem(422, "Unprocessable", errors=faults))
                continue
            known = self.calls.setdefault(key, call)
            if index == trouble:
                # Stored, and its answer lost.
                raise ApiError(Problem(0, "No answer"))
            if known.body() != call.body():
                kind = "urn:outdial:problem:idempotency-key-reused"
                detail = f"this idempotency key was used with another body, for call id-{key}"
                yield BatchAnswer(index, problem=Problem(422, "Unprocessable", detail, type=kind))
            else:
                yield BatchAnswer(
                    index, id=f"id-{key}", status="queued", replayed=known is not call
                )

    async def get(self, call_id: str) -> Any:
        """See `Client.get`; only what is looked at."""
        if call_id not in {f"id-{key}" for key in self.calls} or self.away:
            raise ApiError(Problem(503, "Unavailable"))
        return SimpleNamespace(external_id=self.calls[call_id.removeprefix("id-")].external_id)


def rows(count: int, **fields: str) -> Iterator[Row]:
    """Rows that can all be placed."""
    for number in range(2, count + 2):
        request = {"to_number": f"+1212555{number:04}", "idempotency_key": f"k{number}", **fields}
        yield Row(number, [request["to_number"]], request)


def keyed(*requests: dict[str, Any], allow_duplicates: bool = False) -> list[Row]:
    """Rows as the reader gives them, for one number unless they say another."""
    found = []
    with Identity(allow_duplicates=allow_duplicates) as identity:
        for row, given in enumerate(requests, start=2):
            request = {"to_number": "+12125550190", **given}
            known = identity.of(request, row)
            request["idempotency_key"] = known.key
            found.append(Row(row, [], request, known=known))
    return found


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
        self.duplicates: list[tuple[int, str]] = []
        self.waits: list[str] = []
        self.placing = Placing(
            api,
            reject=lambda row, reason: self.rejected.append((row.row, reason)),
            duplicate=lambda row, reason: self.duplicates.append((row.row, reason)),
            moved=lambda: None,
            waiting=lambda error: self.waits.append(str(error)),
            judge=judged,
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


A, B = {"external_id": "a"}, {"external_id": "b"}
AGAIN = "another campaign name or --allow-duplicates calls again"


@pytest.mark.parametrize("chunk", [1, 250])
@pytest.mark.parametrize("second", [[A, B], [B, A], [B], [B, A, B]])
async def test_a_person_is_called_once_in_any_order(
    monkeypatch: pytest.MonkeyPatch, chunk: int, second: list[dict[str, Any]]
) -> None:
    """A file re-sorted or in part calls nobody a second time, and nothing of it is a fault."""
    monkeypatch.setattr(placing, "ROWS", chunk)
    api = FakeApi()
    run = Run(api)
    await run.placing.run(iter(keyed(A, B)))
    assert run.duplicates == [(3, "the same person as row 2: --allow-duplicates would call again")]
    run = Run(api)
    tally = await run.placing.run(iter(keyed(*second)))
    assert (tally.accepted, tally.rejected, len(api.calls)) == (0, 0, 1)
    assert tally.replayed + tally.duplicates == len(second)
    if second[0] is B:
        (key,) = api.calls
        told = f"placed before with other details (external id a, call id-{key}); {AGAIN}"
        assert (2, told) in run.duplicates


@pytest.mark.parametrize("away", [False, True])
async def test_a_call_that_cannot_be_looked_up_is_named(*, away: bool) -> None:
    """Without a reference, or while the API is away, the call's id must do."""
    api = FakeApi()
    await Run(api).placing.run(iter(keyed({"agent_id": "one"})))
    api.away = away
    run = Run(api)
    await run.placing.run(iter(keyed({"agent_id": "two"})))
    (key,) = api.calls
    assert run.duplicates == [(2, f"placed before with other details (call id-{key}); {AGAIN}")]


@pytest.mark.parametrize("chunk", [1, 250])
@pytest.mark.parametrize("bad", [{"time_zone": "refused"}, {"colour": "red"}])
async def test_a_refused_row_shadows_none(
    monkeypatch: pytest.MonkeyPatch, chunk: int, bad: dict[str, Any]
) -> None:
    """A good row is placed though a row of the same person before it was refused."""
    monkeypatch.setattr(placing, "ROWS", chunk)
    tally = await Run(FakeApi()).placing.run(iter(keyed(bad, {}, {})))
    assert (tally.rejected, tally.accepted, tally.duplicates) == (1, 1, 1)


def test_a_check_knows_duplicates_as_placing_does() -> None:
    """A check leaves out what an import would, and a refused row shadows none."""
    run = Run(FakeApi())
    tally = run.placing.check(iter(keyed({"colour": "red"}, A, B)))
    assert (tally.rejected, tally.accepted, tally.duplicates) == (1, 1, 1)
    assert run.duplicates[0][1].startswith("the same person as row 3")
    tally = Run(FakeApi()).placing.check(iter(keyed(A, B, A, allow_duplicates=True)))
    assert (tally.accepted, tally.duplicates) == (3, 0)


@pytest.mark.parametrize("chunk", [1, 250])
async def test_explicit_keys_decide(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Rows with keys of their own are each a call; the same key again is a duplicate."""
    monkeypatch.setattr(placing, "ROWS", chunk)
    api = FakeApi()
    keys = [{"idempotency_key": name} for name in ("k1", "k2", "k1")]
    run = Run(api)
    tally = await run.placing.run(iter(keyed(*keys, {})))
    assert (tally.accepted, tally.duplicates) == (3, 1)
    assert run.duplicates == [(4, "the same idempotency_key as row 2")]
    run = Run(api)
    await run.placing.run(iter(keyed({"idempotency_key": "k2", **A})))
    assert run.duplicates == [
        (2, "placed before with other details (call id-k2); another idempotency_key calls again")
    ]


@pytest.mark.parametrize("chunk", [1, 250])
async def test_allowed_duplicates_call_each_row_once_in_any_order(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """After an import without it only the rest is called; then nothing, whatever the order."""
    monkeypatch.setattr(placing, "ROWS", chunk)
    api = FakeApi()
    await Run(api).placing.run(iter(keyed(A, B)))
    tally = await Run(api).placing.run(iter(keyed(B, A, A, {}, allow_duplicates=True)))
    assert (tally.accepted, tally.replayed, tally.duplicates) == (3, 1, 0)
    for again in ([A, {}, B, A], [B], [A]):
        tally = await Run(api).placing.run(iter(keyed(*again, allow_duplicates=True)))
        assert (tally.replayed, tally.rows) == (len(again), len(again))
    told = sorted(str(call.external_id) for call in api.calls.values())
    assert told == ["None", "a", "a", "b"]


async def test_allowed_duplicates_outlast_an_api_that_breaks_off() -> None:
    """Rows that are asked a second time are asked after what was not answered."""
    api = FakeApi(2, 0, Problem(503, "Unavailable"))
    asked = keyed(A, B, {}, allow_duplicates=True)
    tally = await Run(api).placing.run(iter(asked))
    assert (tally.accepted + tally.replayed, len(api.calls)) == (3, 3)


async def test_again_everything_is_replayed() -> None:
    """The second import of the same rows accepts none anew."""
    api = FakeApi()
    await Run(api).placing.run(rows(5))
    tally = await Run(api).placing.run(rows(5))
    assert (tally.accepted, tally.replayed) == (0, 5)


async def test_bad_rows_are_never_sent() -> None:
    """Rows without a request go to the rejected file and not to the API."""
    api = FakeApi()
    run = Run(api)
    tally = await run.placing.run(
        iter(
            [
                Row(2, [""], reason="no number"),
                Row(4, ["{}"], {"to_number": "+12125550123", "colour": "red"}),
            ]
        )
    )
    assert (tally.rows, tally.rejected, tally.duplicates, api.asked) == (2, 2, 0, [])
    assert run.rejected[1][1].startswith("unknown field colour")


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

"""Facts about fates: the seeded mix, what forces one, and what is told of them."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from outdial.simulator.conversations import PLOTS, SUMMARIES, cast, converse, slot_of, summarise
from outdial.simulator.scenarios import MAGIC_OUTCOMES, MIX, dice_for, draw
from tests.simulator.running import Caller, Launch, Receiver


def test_mix() -> None:
    """Over many numbers every outcome of the mix comes about as often as its share."""
    drawn = Counter(draw(dice_for(1, number, 0), None, None).outcome for number in range(5000))
    for outcome, share in MIX:
        assert drawn[outcome] / 5000 == pytest.approx(share, abs=0.03)


def test_seed() -> None:
    """The same seed, number and dial give the same fate; another seed gives others."""
    first = [draw(dice_for(1, number, 0), None, None) for number in range(50)]
    assert first == [draw(dice_for(1, number, 0), None, None) for number in range(50)]
    assert first != [draw(dice_for(2, number, 0), None, None) for number in range(50)]


@pytest.mark.parametrize("plot", PLOTS)
def test_conversations(plot: str) -> None:
    """Each plot is told within its talk time, with the caller's own variables in it."""
    variables = {"first_name": "Ada", "job_title": "welder", "company": "Acme", "extra": "{x}"}
    for dice in range(40):
        said = converse(dice, plot, 60_000, variables)
        assert "{" not in said.transcript
        assert said.transcript.count("\n") == len(said.utterances)
        words = [word for each in said.utterances for word in each["words"]]  # type: ignore[attr-defined]
        times = [time for word in words for time in (word["start"], word["end"])]
        assert times == sorted(times)
        assert times[-1] <= 60
        assert set(SUMMARIES) == set(PLOTS)


@pytest.mark.parametrize("name", ["interview_slot", "slot"])
def test_a_given_slot_is_told_as_it_is(name: str) -> None:
    """Words, summary and analysis all have the caller's slot, with no other day beside it."""
    slot = "on 2 December, 9:30 am"
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
    for dice in range(40):
        told = cast(dice, {name: slot})
        assert slot_of("booked", told) == slot
        assert f"for {slot}." in summarise("booked", told)
        for plot in PLOTS:
            said = converse(dice, plot, 60_000, {name: slot})
            everything = f"{said.transcript} {said.with_tool_calls} {summarise(plot, told)}"
            assert not any(day in everything for day in days)
            if plot == "booked":
                assert slot in said.transcript
                assert slot in str(said.with_tool_calls)


async def run_all(caller: Caller, numbers: list[str]) -> dict[str, tuple[Any, ...]]:
    """What became of each number."""
    for number in numbers:
        await caller.dial(number)
    await caller.settled()
    told = await caller.retell.call.list(limit=1000)
    return {
        item.to_number: (item.disconnection_reason, item.duration_ms, item.call_analysis)
        for item in told.items
        if item.call_type == "phone_call"
    }


async def test_reproducible_in_any_order(
    launch: Launch, receiver: Receiver, tmp_path: Path
) -> None:
    """The same people called in another order, in another process, have the same fates."""
    numbers = [f"+1415555{n:04d}" for n in range(40)]
    runs = []
    for place, order in enumerate((numbers, numbers[::-1])):
        caller = Caller(launch(tmp_path / f"home{place}", seed=7), receiver)
        runs.append(await run_all(caller, order))
        await caller.close()
    assert runs[0] == runs[1]
    assert len({fate[0] for fate in runs[0].values()}) > 3


@pytest.mark.parametrize(("digits", "outcome"), MAGIC_OUTCOMES.items())
async def test_magic_numbers(caller: Caller, digits: str, outcome: str) -> None:
    """+1 500 555 0101 and so on force the outcome they are documented with."""
    await caller.dial(f"+15005550{digits}")
    (dial,) = await caller.dials()
    assert dial["outcome"] == outcome


async def test_wished_outcome(caller: Caller, receiver: Receiver) -> None:
    """`sim_outcome` and `sim_talk_ms` in the metadata force outcome and talk time."""
    await caller.dial(metadata={"sim_outcome": "voicemail", "sim_talk_ms": "12000"})
    events = await receiver.count(3)
    assert events[1]["call"]["disconnection_reason"] == "voicemail_reached"
    assert events[1]["call"]["duration_ms"] == 12_000


async def test_dials(caller: Caller) -> None:
    """`/sim/dials` tells every dial with its metadata and key, in pages and by filters."""
    for n in range(5):
        await caller.dial(
            f"+1415555012{n % 2}", metadata={"batch": str(n // 2)}, idempotency_key=f"k{n}"
        )
    page = await caller.get("/sim/dials", limit="2")
    keys = [item["idempotency_key"] for item in page["items"]]
    while page["next_cursor"]:
        page = await caller.get("/sim/dials", limit="2", cursor=page["next_cursor"])
        keys += [item["idempotency_key"] for item in page["items"]]
    assert keys == [f"k{n}" for n in range(5)]
    assert len(await caller.dials(to_number="+14155550121")) == 2
    found = await caller.dials(metadata_key="batch", metadata_value="1")
    assert [item["metadata"] for item in found] == [{"batch": "1"}] * 2
    assert set(found[0]) == {
        "call_id",
        "to_number",
        "from_number",
        "metadata",
        "idempotency_key",
        "rang",
        "outcome",
        "at",
    }
    assert found[0]["rang"] is True
    assert found[0]["at"].endswith("Z")


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"cursor": "x"}, {"color": "red"}, {"metadata_value": "x"}]
)
async def test_dials_refuses(caller: Caller, query: dict[str, str]) -> None:
    """A parameter that cannot be so is 400."""
    async with caller.http.get("/sim/dials", params=query) as answer:
        assert answer.status == 400


async def test_page(caller: Caller) -> None:
    """`/sim` shows the latest dials to a person, with nothing that callers sent unescaped."""
    await caller.retell.call.create_phone_call(
        from_number="<b>", to_number="+14155550123", ignore_e164_validation=True
    )
    async with caller.http.get("/sim") as answer:
        assert answer.content_type == "text/html"
        page = await answer.text()
    assert "+14155550123" in page
    assert "<b>+" not in page


async def test_reset(caller: Caller) -> None:
    """After a reset nothing is known: no dial, no key, no count."""
    first = await caller.dial(idempotency_key="k")
    await caller.post("/sim/reset")
    told = await caller.get("/sim/stats")
    assert (told["dials"], told["running"], told["creates"]) == (0, 0, {})
    assert await caller.dial(idempotency_key="k") != first

"""Every order of what can be told of a call, through the real ledger: one end state, one telling.

The 201, Retell's events, and what was learned by asking, each told once or twice: all orders that
there are, not some. Each order is a call of its own; what is compared is all that anybody can see.
"""

from collections.abc import Iterable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import orjson
import pytest

from outdial.core.submission import Placed
from outdial.ports.dialing import Claim
from tests.ledger_world import World, analyzed, ended, retell_id, started, unanswered, webhook
from tests.properties.test_ledger_lives import in_a_world
from tests.properties.test_reconciled_lives import ask

CONNECTED = ("201", "call_started", "call_ended", "call_analyzed")
UNCONNECTED = ("201", "call_ended", "call_analyzed")
ASKED = "asked"

#: What is told in every order; a lease that ends or a cancel that comes in between change nothing.
STORIES: dict[str, tuple[Sequence[str], bool]] = {
    "connected": (CONNECTED, True),
    "connected, and asked": ((*CONNECTED, ASKED), True),
    "connected, the lease over, cancelled": ((*CONNECTED, "lease over, cancel"), True),
    "unconnected": (UNCONNECTED, False),
    "unconnected, asked, told twice": ((*UNCONNECTED, ASKED, "call_analyzed"), False),
    "unconnected, the lease over, cancelled": ((*UNCONNECTED, "lease over, cancel"), False),
}


async def tell(world: World, claim: Claim, what: str, *, connected: bool) -> None:
    """One of the things that can be told, or that happen meanwhile."""
    match what:
        case "201":
            await world.answer(claim, Placed(retell_id(claim)))
        case "call_started":
            await world.hear(started(claim))
        case "call_ended":
            await world.hear(ended(claim) if connected else webhook(claim, "call_ended"))
        case "call_analyzed":
            await world.hear(analyzed(claim) if connected else unanswered(claim))
        case "asked":
            await ask(world, claim, "analyzed", connected=connected)
        case _:
            # Whoever takes over finds it at Retell; a cancel comes too late.
            world.ledger.clock.ahead += 60_001
            for taken in await world.ledger.dialing.take_over(9):
                if taken.call_id == claim.call_id:
                    await world.answer(taken, Placed(retell_id(claim)), submitted=False)
            await world.ledger.intake.cancel(None, claim.call_id)


async def seen(world: World, claim: Claim, *, connected: bool) -> str:
    """The call, its attempt and its events, without what differs between any two calls.

    Of a call that never connected Retell's call object has no times: asked for, it ended when it
    was asked for.
    """
    call = await world.call(claim.call_id)
    [attempt] = call.attempts
    ours = {"id", "submitted_at", "initiated_at"} | (set() if connected else {"ended_at"})
    shown = {
        "call": (call.status, call.reason),
        "attempt": {
            name: getattr(attempt, name)
            for name in attempt.__dataclass_fields__
            if name not in ours
        },
        "events": [settled(event) for event in await world.events(claim.call_id)],
    }
    text = orjson.dumps(shown, default=str, option=orjson.OPT_SORT_KEYS).decode()
    return text.replace(claim.attempt_id, "ATTEMPT").replace(claim.call_id, "CALL")


def settled(event: dict[str, Any]) -> dict[str, Any]:
    """An activity event without its id, and without a time that is our own clock's."""
    data = dict(event["data"])
    kept = {name: value for name, value in event.items() if name not in {"id", "time", "data"}}
    if event["type"] in {"voice_call.initiated", "voice_call.failed"}:
        del data["occurred_at"]
    return {**kept, "data": data}


@pytest.mark.parametrize("story", STORIES)
def test_every_order_ends_the_same(sqlite_template: Path, story: str) -> None:
    """State, details and activity events are those of the right order, whatever the order was."""
    said, connected = STORIES[story]

    async def run(world: World) -> None:
        ends: dict[str, Sequence[str]] = {}
        for order in unique(permutations(said)):
            claim = await world.claim(await world.accept())
            for what in order:
                await tell(world, claim, what, connected=connected)
            ends.setdefault(await seen(world, claim, connected=connected), order)
        assert len(ends) == 1, ends
        assert await world.alarms() == []

    in_a_world(sqlite_template, run)


@pytest.mark.parametrize("connected", [True, False])
def test_repetition_and_omission(sqlite_template: Path, *, connected: bool) -> None:
    """Every choice of what is lost, told twice over backwards: one end, once somebody asks."""
    said = CONNECTED if connected else UNCONNECTED

    async def run(world: World) -> None:
        ends = set()
        for kept in subsets(said):
            call_id = await world.accept()
            claim = await world.claim(call_id)
            if not kept:
                # Not even the 201: whoever looks it up finds it.
                kept = ("201",)  # noqa: PLW2901
            for what in (*kept, *reversed(kept), *kept):
                await tell(world, claim, what, connected=connected)
            for _ in range(2):
                await tell(world, claim, ASKED, connected=connected)
            told = await world.told(call_id)
            right = ["initiated", "started", "completed"] if connected else ["initiated", "failed"]
            assert told == right, (kept, told)
            ends.add((await world.call(call_id)).status)
        assert len(ends) == 1
        assert await world.alarms() == []

    in_a_world(sqlite_template, run)


def unique(orders: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Each order once, the right one first."""
    return list(dict.fromkeys(orders))


def subsets(said: Sequence[str]) -> list[tuple[str, ...]]:
    """Every choice of some of them, none and all among them, in the right order."""
    chosen: list[tuple[str, ...]] = [()]
    for what in said:
        chosen += [(*before, what) for before in chosen]
    return chosen

"""Random lives of calls in the real ledger: the promises hold after every one of them."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from outdial.core.call import CALL_ENDS
from outdial.core.submission import Placed, Refused, Submission, Suspended, Throttled, Unanswered
from outdial.ports.dialing import Claim
from tests.ledger_world import (
    World,
    analyzed,
    ended,
    open_world,
    retell_id,
    started,
    unanswered,
    webhook,
)

#: Things that can happen to a call and its latest attempt, in any order.
STEPS = (
    "claim",
    "placed",
    "placed late",
    "unanswered",
    "throttled",
    "refused",
    "suspended",
    "look-up: found",
    "look-up: absent",
    "heard started",
    "heard ended",
    "heard connected",
    "heard not connected",
    "heard over the limit",
    "heard something new",
    "lease over",
    "cancel",
    "replay",
)
_ANSWERS: dict[str, Submission] = {
    "unanswered": Unanswered("time-out"),
    "throttled": Throttled("slow down"),
    "refused": Refused(422, "no such agent"),
    "suspended": Suspended(401, "no such key"),
}
_HEARD: dict[str, Callable[[Claim], bytes]] = {
    "heard started": started,
    "heard ended": ended,
    "heard connected": analyzed,
    "heard not connected": unanswered,
    "heard over the limit": lambda claim: unanswered(claim, "concurrency_limit_reached"),
    "heard something new": lambda claim: webhook(claim, "transcript_updated"),
}
_BOUNDED = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


class Life:
    """One call, what its workers hold, and what really was dialed."""

    def __init__(self, world: World, call_id: str) -> None:
        """Accepted, and nothing else yet."""
        self.world = world
        self.call_id = call_id
        self.claims: list[Claim] = []
        #: Attempts that Retell has taken; it would dial one of them once.
        self.at_retell: set[str] = set()
        #: Attempts that were proven not to be dialed.
        self.proven: set[str] = set()

    async def step(self, name: str) -> None:
        """Let it happen, where it can."""
        world = self.world
        if name == "claim":
            await self._claim()
        elif name == "cancel":
            await world.ledger.intake.cancel(None, self.call_id)
        elif name == "replay":
            await self._replay()
        elif name == "lease over":
            # Beyond a lease, a deferral and the longest pause between two look-ups.
            world.ledger.clock.ahead += 601_000
            await world.ledger.dialing.reached()
        elif self.claims:
            await self._of_attempt(name, self.claims[-1])

    async def _claim(self) -> None:
        [claim] = await self.world.ledger.dialing.claim([self.call_id])
        if not isinstance(claim, Claim):
            return
        for before in self.claims:
            same = before.attempt_id == claim.attempt_id
            # An attempt taken over is the same request under the same key, looked up first.
            assert same == (before.body["idempotency_key"] == claim.body["idempotency_key"])
            assert not same or (before.body == claim.body and claim.look_up_first)
        self.claims.append(claim)

    async def _of_attempt(self, name: str, claim: Claim) -> None:
        if name in _HEARD:
            if claim.attempt_id in self.at_retell:
                await self.world.hear(_HEARD[name](claim))
        elif name in _ANSWERS:
            await self._answer(name, claim)
        elif name == "look-up: absent":
            if claim.attempt_id not in self.at_retell and claim.look_up_first:
                await self.world.ledger.dialing.may_submit_again(claim)
        elif claim.attempt_id in self.at_retell or name != "look-up: found":
            await self._placed(claim, self.claims[0] if name == "placed late" else claim)

    async def _placed(self, claim: Claim, teller: Claim) -> None:
        if claim.attempt_id in self.proven or teller.attempt_id != claim.attempt_id:
            return
        self.at_retell.add(claim.attempt_id)
        await self.world.answer(teller, Placed(retell_id(claim)))

    async def _answer(self, name: str, claim: Claim) -> None:
        if name == "unanswered" and len(self.claims) % 2 and claim.attempt_id not in self.proven:
            # Half of the time-outs are of calls that were placed.
            self.at_retell.add(claim.attempt_id)
        elif claim.attempt_id in self.at_retell and not claim.look_up_first:
            # It was placed by its only submission, which is not refused then.
            return
        await self.world.answer(claim, _ANSWERS[name])
        latest = (await self.world.call(self.call_id)).attempts[-1]
        if latest.status in {"deferred", "refused"}:
            assert latest.id not in self.at_retell
            self.proven.add(latest.id)

    async def _replay(self) -> None:
        before = await snapshot(self.world, self.call_id)
        ids = [
            event.id
            async for page in self.world.ledger.inbox.stored(call_id=self.call_id)
            for event in page
        ]
        await self.world.ledger.inbox.replay(ids[::-1])
        after = await snapshot(self.world, self.call_id)
        assert after == before


async def snapshot(world: World, call_id: str) -> dict[str, Any]:
    """The call as anybody can see it, but for when rows were touched."""
    call = await world.call(call_id)
    return {
        "status": call.status,
        "reason": call.reason,
        "attempts": call.attempts,
        "timeline": call.timeline,
        "events": await world.events(call_id),
        "alarms": await world.alarms(),
    }


async def check(world: World, call_id: str) -> None:
    """What is promised of every call, at every moment."""
    call = await world.call(call_id)
    events = await world.events(call_id)
    assert [event["data"]["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert len({event["id"] for event in events}) == len(events)
    told = {
        attempt.number: [
            event["type"].removeprefix("voice_call.")
            for event in events
            if event["data"]["attempt"] == attempt.number
        ]
        for attempt in call.attempts
    }
    not_placed = [event for event in events if event["type"] == "voice_call.not_placed"]
    assert len(not_placed) <= 1
    assert not (not_placed and any(told.values()))
    for attempt in call.attempts:
        of_it = told[attempt.number]
        assert of_it in (
            [],
            ["initiated"],
            ["initiated", "started"],
            ["initiated", "failed"],
            ["initiated", "started", "completed"],
        )
        assert (attempt.status in {"completed", "failed"}) == (
            of_it[-1:] in (["completed"], ["failed"])
        )
    assert [attempt.number for attempt in call.attempts] == list(range(1, len(call.attempts) + 1))
    if call.status in CALL_ENDS:
        ends = {"not_placed", "failed", "completed"}
        assert {event["type"].removeprefix("voice_call.") for event in events} & ends
        open_lines = text("SELECT count(*) FROM attempts WHERE call_id = :id AND line_open")
        [[lines]] = await world.rows(open_lines, id=call_id)
        assert lines == 0
    assert await world.alarms() == []


def in_a_world(template: Path, story: Any) -> None:
    """Run it on a ledger of its own."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ledger.db"
            shutil.copy(template, path)
            async with open_world(f"sqlite:///{path}") as world:
                await story(world)

    asyncio.run(run())


@_BOUNDED
@given(steps=st.lists(st.sampled_from(STEPS), max_size=25))
def test_every_life_keeps_the_promises(sqlite_template: Path, steps: Sequence[str]) -> None:
    """Whatever happens, in whatever order: told once, in sequence, and one end at most."""

    async def story(world: World) -> None:
        life = Life(world, await world.accept())
        await life.step("claim")
        for step in steps:
            await life.step(step)
        await check(world, life.call_id)
        await life.step("replay")

    in_a_world(sqlite_template, story)


@_BOUNDED
@given(data=st.data())
def test_the_end_does_not_depend_on_the_order(sqlite_template: Path, data: st.DataObject) -> None:
    """Any order, repetition and batching of Retell's events, the 201 among them, ends the same."""
    kinds = ["heard started", "heard ended", "heard connected", "heard something new"]
    if data.draw(st.booleans(), "not connected"):
        end = st.sampled_from(["heard not connected", "heard over the limit"])
        kinds = ["heard ended", data.draw(end)]
    said = ["placed", *kinds]
    repeated = data.draw(st.lists(st.sampled_from(said), max_size=4), "repeated")
    order = data.draw(st.permutations([*said, *repeated]), "order")

    async def story(world: World) -> None:
        ends = []
        for said_in in (said, order):
            call_id = await world.accept()
            claim = await world.claim(call_id)
            for name in said_in:
                if name == "placed":
                    await world.answer(claim, Placed(retell_id(claim)))
                else:
                    await world.hear(_HEARD[name](claim))
            await check(world, call_id)
            call = await world.call(call_id)
            [attempt] = call.attempts
            ends.append(
                (
                    call.status,
                    await world.told(call_id),
                    attempt.status,
                    attempt.outcome,
                    attempt.started_at,
                    attempt.ended_at,
                    attempt.duration_ms,
                    attempt.cost_usd,
                )
            )
        assert ends[0] == ends[1]

    in_a_world(sqlite_template, story)

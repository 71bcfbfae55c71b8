"""Lives in doubt, in the real ledger: lost, corrected, vanished, asked about, called twice.

What `test_ledger_lives.py` tells of a call whose workers answer, this tells of one whose workers
do not: whatever is asked, given up or heard of late, what was told is told once, and ends once.
"""

from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typing_extensions import override

from outdial.core.call import CALL_ENDS, Alarm
from outdial.core.submission import Absent, Placed
from outdial.ports.dialing import Claim
from tests.ledger_world import World, analyzed, unanswered, webhook
from tests.properties.test_ledger_lives import STEPS, Life, in_a_world, snapshot
from tests.properties.test_reconciled_lives import ask

ASKED = ("ongoing", "ended", "analyzed", "concluded", "vanished")
DOUBTS = (
    *(f"asked {what}" for what in ASKED),
    "look-up: nothing",
    "window over",
    "found after all",
    "a second call",
    "a second 201",
    "everything again",
)
#: An attempt that nobody was told of tells no end; one that was told tells exactly one.
TELLINGS: tuple[list[str], ...] = (
    [],
    ["initiated"],
    ["initiated", "started"],
    ["initiated", "failed"],
    ["initiated", "started", "completed"],
)
_OVER = {"completed", "failed", "lost"}
_BOUNDED = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


class DoubtfulLife(Life):
    """A life in which Retell may do what it never should, and workers die."""

    def __init__(self, world: World, call_id: str, *, connected: bool) -> None:
        """`connected`: what Retell's own word of it is, whenever it is asked."""
        super().__init__(world, call_id)
        self.connected = connected
        self.heard: list[bytes] = []

    @override
    async def step(self, name: str) -> None:
        if name in DOUBTS:
            if self.claims:
                await self._doubt(name, self.claims[-1])
        else:
            await super().step(name)

    async def _doubt(self, name: str, claim: Claim) -> None:
        world = self.world
        match name:
            case "look-up: nothing":
                if claim.look_up_first and claim.attempt_id not in self.at_retell:
                    await world.answer(claim, Absent("not there"), submitted=False)
            case "window over":
                world.ledger.clock.ahead += 3_000_001
                self.claims += await world.ledger.dialing.take_over(9)
            case "found after all":
                if claim.attempt_id not in self.proven:
                    self.at_retell.add(claim.attempt_id)
                    await self._hear(analyzed(claim) if self.connected else unanswered(claim))
            case "a second call":
                await self._hear(webhook(claim, "call_started", retell_call_id="call_second"))
            case "a second 201":
                await world.answer(claim, Placed("call_second"))
            case "everything again":
                await world.hear(*self.heard[::-1])
            case _:
                if claim.attempt_id in self.at_retell:
                    await ask(world, claim, name.removeprefix("asked "), connected=self.connected)

    async def _hear(self, body: bytes) -> None:
        self.heard.append(body)
        await self.world.hear(body)

    async def told(self) -> dict[int | None, list[str]]:
        """What was told, by attempt; under None what was told of the call."""
        told: dict[int | None, list[str]] = {}
        for event in await self.world.events(self.call_id):
            number = event["data"]["attempt"]
            told.setdefault(number, []).append(event["type"].removeprefix("voice_call."))
        return told


async def check(life: DoubtfulLife) -> None:
    """What is promised of every call at every moment, were Retell to break its own promises."""
    call = await life.world.call(life.call_id)
    events = await life.world.events(life.call_id)
    assert [event["data"]["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert len({event["id"] for event in events}) == len(events)
    told = await life.told()
    not_placed = told.pop(None, [])
    assert not_placed in ([], ["not_placed"])
    for attempt in call.attempts:
        of_it = told.pop(attempt.number, [])
        assert of_it in TELLINGS, (attempt.status, of_it)
        if of_it:
            ended = of_it[-1] in {"completed", "failed"}
            assert ended == (attempt.status in _OVER), (attempt.status, of_it)
    assert told == {}
    if call.status in CALL_ENDS:
        assert len(events) > 0
    kinds = {kind for kind, _ in await life.world.alarms()}
    assert kinds <= set(Alarm)


async def settle(life: DoubtfulLife) -> None:
    """Time passes, and the reconciler asks: what is at Retell ends, what is not is given up."""
    for _ in range(6):
        await life.step("window over")
        await life.step("claim")
        latest = life.claims[-1] if life.claims else None
        if latest is not None and latest.attempt_id in life.at_retell:
            await life.step("placed")
            await life.step("asked analyzed")
        await life.step("look-up: nothing")
    await life.step("cancel")


@_BOUNDED
@given(
    steps=st.lists(st.sampled_from([*STEPS, *DOUBTS, *DOUBTS]), max_size=20),
    connected=st.booleans(),
)
def test_every_doubtful_life_keeps_the_promises(
    sqlite_template: Path,
    steps: Sequence[str],
    connected: bool,  # noqa: FBT001
) -> None:
    """In every moment: in sequence, told once, one end for each attempt told; `not_placed` once."""

    async def story(world: World) -> None:
        life = DoubtfulLife(world, await world.accept(), connected=connected)
        await life.step("claim")
        for step in steps:
            await life.step(step)
            await check(life)
        await settle(life)
        await check(life)
        before = await snapshot(world, life.call_id)
        await life.step("everything again")
        assert (await snapshot(world, life.call_id))["events"] == before["events"]

    in_a_world(sqlite_template, story)


@_BOUNDED
@given(
    late=st.lists(st.sampled_from(["found after all", "asked analyzed", "placed", "replay"])),
    cancelled=st.booleans(),
    connected=st.booleans(),
)
def test_given_up_is_told_once_whatever_comes_later(
    sqlite_template: Path,
    late: Sequence[str],
    cancelled: bool,  # noqa: FBT001
    connected: bool,  # noqa: FBT001
) -> None:
    """A submission given up is one `not_placed`; found after all it is corrected, and alarmed."""

    async def story(world: World) -> None:
        life = DoubtfulLife(world, await world.accept(), connected=connected)
        await life.step("claim")
        await life.step("unanswered")
        life.at_retell.clear()
        for _ in range(3):
            await life.step("window over")
            await life.step("look-up: nothing")
        call = await world.call(life.call_id)
        assert (call.status, call.reason) == ("failed", "submission_lost")
        assert await life.told() == {None: ["not_placed"]}
        if cancelled:
            await life.step("cancel")
        for step in late:
            await life.step(step)
        assert await life.told() == {None: ["not_placed"]}
        found = "found after all" in late
        attempt = (await world.call(life.call_id)).attempts[-1]
        if found:
            assert attempt.status == ("completed" if connected else "failed")
            assert {kind for kind, _ in await world.alarms()} == {"found_after_lost"}

    in_a_world(sqlite_template, story)

"""Webhooks and what was learned by asking, in any order: they commute, and the end is one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from outdial.core.call import AttemptStatus
from outdial.core.reconciling import Known, learn
from outdial.core.submission import Placed
from outdial.ports.dialing import Claim
from outdial.ports.reconciliation import Learned, Silent
from tests.ledger_world import World, analyzed, ended, retell_id, started, unanswered
from tests.properties.test_ledger_lives import in_a_world

_BOUNDED = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
WAIT = 3_600_000
_CONNECTED = ("heard started", "heard ended", "heard analyzed")
_ASKED = ("asked ongoing", "asked ended", "asked analyzed")


def told_in(claim: Claim, name: str, *, connected: bool) -> dict[str, Any]:
    """The call object that Retell has at that moment."""
    end: Callable[[Claim], bytes] = analyzed if connected else unanswered
    body = {"ongoing": started, "ended": end, "concluded": end, "analyzed": end}[name](claim)
    call: dict[str, Any] = orjson.loads(body)["call"]
    if name != "analyzed":
        call.pop("call_analysis", None)
    return call


async def ask(world: World, claim: Claim, name: str, *, connected: bool) -> None:
    """A reconciler learned it, by the ledger as it is at that moment."""
    row = text("SELECT status, told_started, line_open, silent_since FROM attempts WHERE id = :id")
    [now] = await world.rows(row, id=claim.attempt_id)
    known = Known(
        AttemptStatus(now.status),
        bool(now.told_started),
        bool(now.line_open),
        WAIT if name == "concluded" else 0,
    )
    silent = Silent(
        claim.call_id, claim.attempt_id, retell_id(claim), now.silent_since or 0, 0, known
    )
    if name == "vanished":
        await world.ledger.reconciliation.learned(Learned(silent, 1, vanished=True))
        return
    call = told_in(claim, name, connected=connected)
    lesson = learn(call, known, after_ms=1, analysis_after_ms=WAIT)
    bodies = tuple(orjson.dumps(event) for event in lesson.events)
    await world.ledger.reconciliation.learned(Learned(silent, 1, bodies, lesson.drift))


async def happen(world: World, claim: Claim, name: str, *, connected: bool) -> None:
    """One step of a story."""
    how, _, what = name.partition(" ")
    if how == "asked":
        await ask(world, claim, what, connected=connected)
    elif what == "placed":
        await world.answer(claim, Placed(retell_id(claim)))
    else:
        end = analyzed if connected else unanswered
        await world.hear({"started": started, "ended": ended, "analyzed": end}[what](claim))


async def outcome(world: World, call_id: str) -> tuple[Any, ...]:
    """What anybody can see in the end."""
    call = await world.call(call_id)
    [attempt] = call.attempts
    seen = (attempt.status, attempt.outcome, attempt.duration_ms, attempt.call_summary)
    provisional = text("SELECT provisional, line_open FROM attempts WHERE call_id = :id")
    [left] = await world.rows(provisional, id=call_id)
    return (call.status, call.reason, *seen, *map(bool, left))


@_BOUNDED
@given(data=st.data(), connected=st.booleans())
def test_asking_commutes_with_the_webhooks(
    sqlite_template: Path,
    data: st.DataObject,
    connected: bool,  # noqa: FBT001
) -> None:
    """Whatever was asked in between, once all webhooks are there it is as if nobody had asked."""
    heard = ["heard placed", *(_CONNECTED if connected else _CONNECTED[1:])]
    asked = st.sampled_from([*(_ASKED if connected else _ASKED[1:]), "asked concluded"])
    extra = data.draw(st.lists(st.one_of(asked, st.sampled_from(heard)), max_size=6), "extra")
    order = data.draw(st.permutations([*heard, *extra]), "order")

    async def story(world: World) -> None:
        ends = []
        for steps in (heard, order):
            call_id = await world.accept()
            claim = await world.claim(call_id)
            for name in steps:
                await happen(world, claim, name, connected=connected)
            ends.append((await world.told(call_id), await outcome(world, call_id)))
        assert ends[0] == ends[1]
        assert await world.alarms() == []

    in_a_world(sqlite_template, story)


@_BOUNDED
@given(data=st.data(), connected=st.booleans())
def test_one_end_whatever_is_missing(
    sqlite_template: Path,
    data: st.DataObject,
    connected: bool,  # noqa: FBT001
) -> None:
    """With webhooks lost, calls gone and found again: one end is told, and Retell's word holds."""
    heard = _CONNECTED if connected else _CONNECTED[1:]
    asked = _ASKED if connected else _ASKED[1:]
    steps = st.sampled_from([*heard, *asked, "asked concluded", "asked vanished"])
    order = data.draw(st.lists(steps, max_size=8), "order")

    async def story(world: World) -> None:
        call_id, claim = await world.placed()
        for name in order:
            await happen(world, claim, name, connected=connected)
        # In the end it is asked about, if by nobody else.
        await happen(world, claim, "asked analyzed", connected=connected)
        told = await world.told(call_id)
        assert sum(one in {"completed", "failed"} for one in told) == 1
        assert told[0] == "initiated"
        assert (await outcome(world, call_id))[:3] == (
            ("completed", None, "completed") if connected else ("failed", None, "failed")
        )
        assert (await outcome(world, call_id))[-2:] == (False, False)
        assert await world.alarms() == []

    in_a_world(sqlite_template, story)

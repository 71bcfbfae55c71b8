"""Facts about the relay's loops and their rests."""

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from outdial.core.retry import Backoff
from outdial.errors import Unavailable
from outdial.relay.rounds import Pace, Rounds
from outdial.relay.wake import Wake

NEVER = 3600.0


async def ends(waiting: asyncio.Task[None]) -> None:
    """It ends long before the time it would rest."""
    async with asyncio.timeout(10):
        await waiting


async def turns(count: int) -> None:
    """Let the other tasks go on."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_rest_ends_by_itself() -> None:
    """Without news it lasts as long as it was told to."""
    await Wake().rest(0.001, 0.002)


async def test_a_nudge_ends_a_rest() -> None:
    """Also one that came before the rest began."""
    wake = Wake()
    resting = asyncio.create_task(wake.rest(0, NEVER))
    await asyncio.sleep(0)
    wake.nudge()
    await ends(resting)
    wake.nudge()
    await ends(asyncio.create_task(wake.rest(0, NEVER)))


async def test_a_nudge_counts_once() -> None:
    """The rest after the one it ended is not cut short by it."""
    wake = Wake()
    wake.nudge()
    wake.nudge()
    await wake.rest(0, NEVER)
    resting = asyncio.create_task(wake.rest(0, NEVER))
    await asyncio.sleep(0.01)
    assert not resting.done()
    resting.cancel()


async def test_a_nudge_does_not_shorten_the_least() -> None:
    """News that come close together are one round's work."""
    wake = Wake()
    wake.nudge()
    resting = asyncio.create_task(wake.rest(NEVER, 2 * NEVER))
    await asyncio.sleep(0.01)
    assert not resting.done()
    wake.stop()
    await ends(resting)


async def test_stopping_ends_every_rest() -> None:
    """The least of a rest, and the wait for a dependency, too."""
    wake = Wake()
    resting = [
        asyncio.create_task(wake.rest(NEVER, NEVER)),
        asyncio.create_task(wake.rest(0, NEVER)),
        asyncio.create_task(wake.until_stopped(NEVER)),
    ]
    await asyncio.sleep(0)
    assert not wake.stopped
    wake.stop()
    for each in resting:
        await ends(each)
    assert wake.stopped


def rounds_of(work: Callable[[], int], *, pace: Pace, probing: float = 0.0) -> Rounds:
    """A loop over plain `work`, without chance."""

    async def go() -> int:
        await asyncio.sleep(0)
        return work()

    return Rounds(
        "test", go, pace=pace, probing=Backoff(base=probing, ceiling=probing), draw=lambda: 1.0
    )


async def test_rounds_go_on_until_stopped() -> None:
    """The round in which it is stopped is the last."""
    done: list[int] = []

    def work() -> int:
        done.append(1)
        if len(done) == 3:
            rounds.wake.stop()
        return 1

    rounds = rounds_of(work, pace=Pace(0, 0))
    await rounds.run()
    assert len(done) == 3


async def test_idle_rounds_become_rarer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each idle round doubles the rest, up to the most; work brings it back to the least."""
    moved = iter([0, 0, 0, 0, 7, 0, 0])
    rests: list[tuple[float, float]] = []
    rounds = rounds_of(lambda: next(moved), pace=Pace(0.25, 1.0))

    async def rest(least: float, most: float) -> None:
        rests.append((least, most))
        if len(rests) == 7:
            rounds.wake.stop()

    monkeypatch.setattr(rounds.wake, "rest", rest)
    await rounds.run()
    assert [least for least, _ in rests] == [0.25] * 7
    assert [most for _, most in rests] == [0.5, 1.0, 1.0, 1.0, 0.25, 0.5, 1.0]


async def test_a_dependency_that_is_down_is_asked_again() -> None:
    """Trouble is logged once, shown by the check, and over when a round goes well."""
    left = 3
    seen: list[str] = []

    def work() -> int:
        nonlocal left
        if left:
            left -= 1
            raise Unavailable("database", "down")
        rounds.wake.stop()
        return 0

    rounds = rounds_of(work, pace=Pace(0, 0))
    await rounds.check()
    with capture_logs() as logs:
        await rounds.run()
    seen = [each["event"] for each in logs]
    assert seen == ["waiting", "recovered"]
    await rounds.check()


async def test_the_check_raises_while_waiting() -> None:
    """It says what is down."""

    def work() -> int:
        raise Unavailable("database", "down")

    rounds = rounds_of(work, pace=Pace(0, 0), probing=NEVER)
    running = asyncio.create_task(rounds.run())
    await turns(3)
    with pytest.raises(Unavailable, match="database unavailable: down"):
        await rounds.check()
    rounds.wake.stop()
    await ends(running)

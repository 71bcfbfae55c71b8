"""The loop that takes over what nobody owns, and ends second calls."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from outdial.adapters.memory.platform import MemoryPlatform
from outdial.call_processor.doubts import AT_ONCE, Doubts
from outdial.errors import Unavailable
from outdial.ports.dialing import Claim, SecondDial


def claim(number: int) -> Claim:
    """An attempt to be looked up."""
    return Claim(f"call_{number}", f"attempt_{number}", 1, "token", 60_000, 1, {}, True)


class Ledger:
    """So much of the ledger as the loop asks."""

    def __init__(self, claims: Sequence[Claim] = (), seconds: Sequence[SecondDial] = ()) -> None:
        """What nobody owns, and second calls."""
        self.claims = list(claims)
        self.seconds = list(seconds)
        self.asked: list[int] = []
        self.away = 0

    async def take_over(self, limit: int) -> list[Claim]:
        """Up to `limit`; fails so often first as `away` says."""
        self.asked.append(limit)
        if self.away:
            self.away -= 1
            raise Unavailable("database", "away")
        taken, self.claims = self.claims[:limit], self.claims[limit:]
        return taken

    async def second_dials(self, limit: int) -> list[SecondDial]:
        """Not ended yet."""
        return self.seconds[:limit]

    async def stopped(self, second: SecondDial) -> None:
        """Ended."""
        self.seconds.remove(second)


def doubts(ledger: Any, carry_out: Any, platform: MemoryPlatform | None = None) -> Doubts:
    """The loop, without pauses."""
    return Doubts(ledger, platform or MemoryPlatform(), carry_out, interval=0)


async def test_no_more_at_once_than_agreed() -> None:
    """A slow look-up holds up no other, and each makes room for the next."""
    release = asyncio.Event()
    begun: asyncio.Queue[str] = asyncio.Queue()

    async def slow(one: Claim) -> None:
        begun.put_nowait(one.call_id)
        await release.wait()

    ledger = Ledger([claim(number) for number in range(AT_ONCE + 3)])
    loop = doubts(ledger, slow)
    running = asyncio.create_task(loop.run())
    for _ in range(AT_ONCE):
        await begun.get()
    for _ in range(50):
        await asyncio.sleep(0)
    assert begun.empty()
    assert loop.in_hand >= AT_ONCE
    release.set()
    for _ in range(3):
        await asyncio.wait_for(begun.get(), 5)
    running.cancel()
    await asyncio.wait({running})
    assert ledger.asked[0] == AT_ONCE


async def test_stopping_lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is under way is left to whoever finds its lease over; outages before are waited out."""
    monkeypatch.setattr("outdial.call_processor.doubts.random.random", lambda: 0.0)
    let_go = asyncio.Event()
    begun = asyncio.Event()

    async def endless(_: Claim) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            let_go.set()
            raise

    ledger = Ledger([claim(1)])
    ledger.away = 2
    running = asyncio.create_task(doubts(ledger, endless).run())
    await begun.wait()
    running.cancel()
    await asyncio.wait_for(let_go.wait(), 5)


async def test_a_fault_of_ours_is_not_hidden() -> None:
    """It ends the loop, and the stage with it, loudly."""

    async def faulty(_: Claim) -> None:
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        await asyncio.wait_for(doubts(Ledger([claim(1)]), faulty).run(), 5)


async def test_a_second_call_is_ended_when_retell_is_there() -> None:
    """The order is given again until it is taken."""
    platform = MemoryPlatform(away=True)
    platform.calls["call_x"] = {"call_status": "ongoing"}
    ledger = Ledger(seconds=[SecondDial("alarm", "attempt", "call_x")])

    async def nothing(_: Claim) -> None:
        """Nobody is to be looked up."""

    loop = doubts(ledger, nothing, platform)
    await loop.round()
    assert len(ledger.seconds) == 1
    platform.away = False
    await loop.round()
    assert ledger.seconds == []
    assert platform.stopped == ["call_x"]

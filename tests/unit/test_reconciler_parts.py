"""The reconciler's own small parts: its pace, its doubt of the key, its life."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from outdial.adapters.memory.platform import MemoryPlatform
from outdial.errors import Unavailable
from outdial.ports.platform import ListedCall
from outdial.reconciler import Reconciler, Rules
from outdial.reconciler.asking import written
from outdial.reconciler.doubt import MOST, Doubt
from outdial.reconciler.pacing import Pacing


async def test_questions_keep_their_distance() -> None:
    """The first goes at once, each other a step after the one before; a rest is not saved up."""
    now = 100.0
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    pacing = Pacing(4.0, lambda: now, sleep)
    for _ in range(3):
        await pacing.turn()
    assert waits == [0.25, 0.5]
    now = 200.0
    await pacing.turn()
    await pacing.turn()
    assert waits == [0.25, 0.5, 0.25]


def test_the_key_is_doubted_for_five_calls_in_a_row() -> None:
    """Different ones; one that is known ends it."""
    doubt = Doubt()
    for _ in range(9):
        doubt.unknown("call_0")
    assert not doubt.is_open
    for number in range(MOST):
        doubt.unknown(f"call_{number}")
    assert doubt.is_open
    doubt.known()
    assert not doubt.is_open


def test_whatever_retell_answers_is_written() -> None:
    """Half a surrogate pair, numbers without end, depth without end: none of it stops the stage."""
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    call = {"call_id": "call_1", "transcript": "\ud800", "number": 10**400, "deep": deep}
    body = written({"event": "call_analyzed", "call": call})
    assert orjson.loads(body)["call"]["call_id"] == "call_1"


class Away:
    """A ledger whose database comes back after so many questions, and then stops the stage."""

    def __init__(self, failures: int) -> None:
        """`reconciler` is set by the test."""
        self.failures = failures
        self.reconciler: Reconciler | None = None
        self.noted: list[str | None] = []
        self.ready: list[bool] = []

    async def claim_search(self, _: int) -> bool:
        """Fail, or there is nothing to search."""
        assert self.reconciler is not None
        try:
            await self.reconciler.check()
        except Unavailable:
            self.ready.append(False)
        else:
            self.ready.append(True)
        if self.failures > 0:
            self.failures -= 1
            raise Unavailable("database", "away")
        return False

    async def silent(self, *_: Any, **__: Any) -> list[Any]:
        """Nothing is; that was the last round."""
        assert self.reconciler is not None
        await self.reconciler.stop()
        return []

    async def note(self, trouble: str | None) -> None:
        """Keep it, once the database is back."""
        if self.failures > 0:
            raise Unavailable("database", "away")
        self.noted.append(trouble)


async def test_the_stage_outlives_its_database() -> None:
    """It waits, says so, and goes on by itself."""
    ledger: Any = Away(2)
    reconciler = Reconciler(ledger, MemoryPlatform(), Rules(), draw=lambda: 0.0)
    ledger.reconciler = reconciler
    await asyncio.wait_for(reconciler.run(), 30)
    assert ledger.ready == [True, False, False]
    assert ledger.noted[-1] is None
    await reconciler.check()


async def test_listing_ends_with_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much Retell lists, a search is bounded."""
    monkeypatch.setattr("outdial.reconciler.searching._MOST_CALLS", 3)
    listed = 0

    class Endless(MemoryPlatform):
        async def calls_of(
            self, deployment: str, *, newest_first: bool = False
        ) -> AsyncIterator[list[ListedCall]]:
            nonlocal listed
            assert (deployment, newest_first) == ("ours", True)
            while True:
                listed += 1
                yield [ListedCall(f"call_{listed}", None, None)]

    class Known:
        async def claim_search(self, _: int) -> bool:
            return True

        async def deployment(self) -> str:
            return "ours"

        async def now(self) -> int:
            return 0

        async def unknown(self, _: Any) -> list[ListedCall]:
            return []

        async def silent(self, *_: Any, **__: Any) -> list[Any]:
            return []

        async def note(self, _: str | None) -> None:
            return None

        async def report(self) -> None:
            return None

    ledger: Any = Known()
    await Reconciler(ledger, Endless(), Rules(rate=1000)).once()
    assert listed == 3

"""The voice platforms that the contract suite runs on, and how a test makes them fail."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from outdial.adapters.memory import LostAnswer, MemoryPlatform
from outdial.adapters.retell import RetellPlatform
from outdial.core.submission import from_status
from outdial.ports.platform import VoicePlatform
from tests.simulator.running import KEY, Simulator, start

LIMIT = 20


class Subject(Protocol):
    """A platform under test, seen from its other side as well."""

    @property
    def platform(self) -> VoicePlatform:
        """The port."""
        ...

    async def answer_with(self, status: int) -> None:
        """Every submission from now on is refused with this status; nothing is dialed."""
        ...

    async def lose_answers(self) -> None:
        """Every submission from now on is dialed, and never answered."""
        ...

    async def heal(self) -> None:
        """Submissions are dialed and answered again."""
        ...

    async def vanish(self) -> None:
        """Nothing of the platform can be reached any more."""
        ...

    async def dials(self) -> list[str]:
        """Call ids of all that was really dialed."""
        ...


class InMemory:
    """The fake."""

    def __init__(self) -> None:
        """Fresh."""
        self.platform = MemoryPlatform(limit=LIMIT)

    async def answer_with(self, status: int) -> None:
        """See the protocol."""
        self.platform.script.extend([from_status(status, "scripted")] * 9)

    async def lose_answers(self) -> None:
        """See the protocol."""
        self.platform.script.extend([LostAnswer()] * 9)

    async def heal(self) -> None:
        """See the protocol."""
        self.platform.script.clear()

    async def vanish(self) -> None:
        """See the protocol."""
        self.platform.away = True

    async def dials(self) -> list[str]:
        """See the protocol."""
        return [dial.retell_call_id for dial in self.platform.dials]


class OverHttp:
    """The real adapter against the simulator."""

    def __init__(self, simulator: Simulator, http: aiohttp.ClientSession) -> None:
        """`http` speaks to the simulator's control."""
        self.platform = RetellPlatform(KEY, simulator.url)
        self._simulator = simulator
        self._http = http

    async def answer_with(self, status: int) -> None:
        """See the protocol."""
        await self._faults(create_status=status)

    async def lose_answers(self) -> None:
        """See the protocol."""
        await self._faults(lost_response=1)

    async def heal(self) -> None:
        """See the protocol."""
        await self._faults(create_status=0, lost_response=0)

    async def vanish(self) -> None:
        """See the protocol."""
        self._simulator.kill()

    async def dials(self) -> list[str]:
        """See the protocol."""
        async with self._http.get("/sim/dials") as answer:
            told: dict[str, Any] = await answer.json()
        return [dial["call_id"] for dial in told["items"]]

    async def _faults(self, **faults: float) -> None:
        async with self._http.post("/sim/faults", json=faults) as answer:
            assert answer.status == 200


Platforms = Callable[[Path], AbstractAsyncContextManager[Subject]]


@asynccontextmanager
async def memory(_: Path) -> AsyncIterator[Subject]:
    """The fake that ships with the package."""
    yield InMemory()


@asynccontextmanager
async def retell(folder: Path) -> AsyncIterator[Subject]:
    """The real adapter, over HTTP, against a simulator whose calls take their time."""
    simulator = await asyncio.to_thread(start, folder / "simulator", speed=1, concurrency=LIMIT)
    async with aiohttp.ClientSession(simulator.url) as http:
        subject = OverHttp(simulator, http)
        try:
            yield subject
        finally:
            await subject.platform.close()
            simulator.kill()


ALL: list[Platforms] = [memory, retell]

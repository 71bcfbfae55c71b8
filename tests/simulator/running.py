"""A simulator as a child process, and a receiver of its webhooks, for tests."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from retell import AsyncRetell, DefaultAioHttpClient

KEY = "key_of_the_tests"
FROM = "+14155550100"


@dataclass
class Simulator:
    """A running simulator; `home` may be given to the next one."""

    process: subprocess.Popen[str]
    url: str
    home: Path

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self._reap()

    def stop(self) -> int:
        """End it as a person would; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def _reap(self) -> int:
        code = self.process.wait(20)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        return code


Launch = Callable[..., Simulator]


def command(home: Path, **flags: object) -> list[str]:
    """The command line of a fast simulator without limits, as far as `flags` leave it so."""
    told = {"port": 0, "home": home, "speed": 1000, "rate": 0, "concurrency": 0, "api_key": KEY}
    told |= {"webhook_retry": 0.02} | flags
    words = [sys.executable, "-m", "outdial.simulator", "--json"]
    for name, value in told.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def start(home: Path, **flags: object) -> Simulator:
    """Start one and read its address."""
    process = subprocess.Popen(command(home, **flags), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    return Simulator(process, json.loads(line)["simulator"], home)


@dataclass
class Receiver:
    """Takes webhooks and keeps them in their order of arrival."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    """Answers to give to the next requests, instead of 204; 0 never answers."""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        """One request."""
        body = await request.read()
        self.requests.append(({k.lower(): v for k, v in request.headers.items()}, body))
        status = self.statuses.pop(0) if self.statuses else 204
        async with self._arrived:
            self._arrived.notify_all()
        if status == 0:
            await self._over.wait()
        return web.Response(status=status or 204)

    def release(self) -> None:
        """Let the requests that were never answered go."""
        self._over.set()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events in their order of arrival."""
        return [json.loads(body) for _, body in self.requests]

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [event["event"] for event in self.events]

    async def until(self, ready: Callable[["Receiver"], bool]) -> None:
        """Wait until what arrived is enough."""
        async with asyncio.timeout(20), self._arrived:
            await self._arrived.wait_for(lambda: ready(self))

    async def count(self, number: int) -> list[dict[str, Any]]:
        """Wait for that many requests."""
        await self.until(lambda receiver: len(receiver.requests) >= number)
        return self.events


class Caller:
    """The real SDK on a simulator, its control, and webhooks to a receiver of the test."""

    def __init__(self, simulator: Simulator, receiver: Receiver, api_key: str = KEY) -> None:
        """Close it in the end."""
        self.simulator = simulator
        self.receiver = receiver
        self.retell = AsyncRetell(
            api_key=api_key, base_url=simulator.url, http_client=DefaultAioHttpClient()
        )
        self.http = aiohttp.ClientSession(simulator.url)

    async def close(self) -> None:
        """Close both clients."""
        await self.http.close()
        await self.retell.close()

    async def dial(self, number: str = "+14155550123", **more: Any) -> str:
        """Place a call through the SDK; its id."""
        call = await self.retell.call.create_phone_call(
            from_number=FROM,
            to_number=number,
            agent_override={"agent": {"webhook_url": self.receiver.url}},
            **more,
        )
        return call.call_id

    async def get(self, path: str, **query: str) -> Any:
        """JSON of `/sim…`."""
        async with self.http.get(path, params=query) as answer:
            return await answer.json()

    async def post(self, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of a POST to `/sim…`."""
        async with self.http.post(path, json=body) as answer:
            return answer.status, await answer.json()

    async def faults(self, **shares: object) -> None:
        """Set faults."""
        status, told = await self.post("/sim/faults", shares)
        assert status == 200, told

    async def dials(self, **query: str) -> list[dict[str, Any]]:
        """The first page of `/sim/dials`."""
        told = await self.get("/sim/dials", **query)
        items: list[dict[str, Any]] = told["items"]
        return items

    async def settled(self) -> dict[str, Any]:
        """Wait until every call is over and every webhook settled; the statistics."""
        async with asyncio.timeout(20):
            while True:
                told: dict[str, Any] = await self.get("/sim/stats")
                if told["dials"] == told["analyzed"] and not told["webhooks"]["pending"]:
                    return told
                await asyncio.sleep(0.02)

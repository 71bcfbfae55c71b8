"""Calls a second from accept to "completed", through every stage, in one `outdial up`.

Starts the program as its user would, with the rate limits lifted and the simulator in its own
process, places calls over HTTP, one request a call, and waits until the database says that all
have ended. Prints calls a second, CPU a call of both processes, and memory as it went.

    python benchmarks/pipeline.py [--calls 2000] [--database URL] [--speed 2000]
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

#: Requests under way at once.
IN_FLIGHT = 64
_WAITING = ("scheduled", "queued", "dialing", "in_progress")
_TICKS = os.sysconf("SC_CLK_TCK")
_STALL_SECONDS = 120


@dataclass(frozen=True)
class Program:
    """A running `outdial up`."""

    pid: int
    child: int
    url: str
    simulator: str
    key: str


@asynccontextmanager
async def running(home: Path, database: str | None, speed: float) -> AsyncIterator[Program]:
    """Start it with the pace lifted; stop it as Ctrl-C would."""
    settings = {
        "OUTDIAL_HOME": str(home),
        "OUTDIAL_DIAL_RATE": "2000",
        "OUTDIAL_MAX_CONCURRENT_CALLS": "2000",
        "OUTDIAL_LOG_LEVEL": "warning",
    }
    if database is not None:
        settings["OUTDIAL_DATABASE_URL"] = database
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OUTDIAL_")}
    services = ("internal-api", "webhook", "web-api", "simulator")
    ports = [f"--{name}-port=0" for name in services]
    program = Path(sys.executable).with_name("outdial")
    process = await asyncio.create_subprocess_exec(
        *(str(program), "up", "--json", f"--speed={speed}", *ports),
        env=clean | settings,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 60))
        key = json.loads(text_of(home / "credentials.json"))["key"]
        yield Program(
            process.pid,
            int(text_of(Path(f"/proc/{process.pid}/task/{process.pid}/children")).split()[0]),
            ready["urls"]["internal-api"],
            ready["urls"]["simulator"],
            key,
        )
    finally:
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), 60)


async def place(session: aiohttp.ClientSession, url: str, calls: int) -> None:
    """One POST a call, `IN_FLIGHT` at once; each has to be accepted."""
    numbers = iter(range(calls))

    async def worker() -> None:
        for number in numbers:
            body = {
                "to_number": f"+1{200 + number // 10_000}555{number % 10_000:04}",
                "external_id": f"candidate-{number}",
                "campaign": "benchmark",
                "dynamic_variables": {"name": "Ada", "slot": "Tuesday at ten"},
            }
            async with session.post(f"{url}/v1/calls", json=body) as response:
                assert response.status == 202, await response.text()

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))


async def settled(session: aiohttp.ClientSession, url: str) -> None:
    """Return when no call waits or is under way. Stops loudly where nothing goes on."""
    deadline = time.monotonic() + _STALL_SECONDS
    for status in _WAITING:
        while True:
            async with session.get(f"{url}/v1/calls?status={status}&limit=1") as response:
                if not (await response.json())["items"]:
                    break
            assert time.monotonic() < deadline, f"calls remain {status}"
            await asyncio.sleep(0.05)


async def check(session: aiohttp.ClientSession, program: Program, calls: int) -> None:
    """A fast answer that is wrong is no answer: as many dials as calls."""
    async with session.get(f"{program.simulator}/sim/stats") as response:
        stats = await response.json()
    assert stats["dials"] == calls, stats


def text_of(path: Path) -> str:
    """What the file says."""
    return path.read_text()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mb(pid: int) -> float:
    """Resident memory now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


async def measure(arguments: argparse.Namespace) -> None:
    """Rounds of at most 2,000 calls, so that memory and pace can be seen to stay flat."""
    with tempfile.TemporaryDirectory(prefix="outdial-benchmark-") as home:
        async with running(Path(home), arguments.database, arguments.speed) as program:
            headers = {"Authorization": f"Bearer {program.key}"}
            connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
            async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
                # The first calls pay for what is loaded late.
                await place(session, program.url, 20)
                await settled(session, program.url)
                print(f"{'calls':>7} {'calls/s':>8} {'ms CPU a call':>16} {'memory':>9}")
                print(f"{'':>7} {'':>8} {'up':>8}{'simulator':>10} {'of up':>9}")
                done = 0
                begun = time.perf_counter()
                while done < arguments.calls:
                    size = min(2000, arguments.calls - done)
                    await one_round(session, program, done, size)
                    done += size
                await check(session, program, done + 20)
                took = time.perf_counter() - begun
                print(f"{done:>7} {done / took:>8.0f}  all, each dialed once")


async def one_round(session: aiohttp.ClientSession, program: Program, done: int, size: int) -> None:
    """Place `size` calls, wait for their end, print a line."""
    before = cpu_seconds(program.pid), cpu_seconds(program.child)
    begun = time.perf_counter()
    await place(session, program.url, size)
    await settled(session, program.url)
    took = time.perf_counter() - begun
    ours = (cpu_seconds(program.pid) - before[0]) / size * 1000
    theirs = (cpu_seconds(program.child) - before[1]) / size * 1000
    print(
        f"{done + size:>7} {size / took:>8.0f} {ours:>8.1f}{theirs:>10.1f} "
        f"{memory_mb(program.pid):>6.0f} MB",
        flush=True,
    )


if __name__ == "__main__":
    read = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    read.add_argument("--calls", type=int, default=2000)
    read.add_argument("--database", help="postgresql://… instead of SQLite")
    read.add_argument("--speed", type=float, default=2000, help="the simulator's")
    asyncio.run(measure(read.parse_args()))

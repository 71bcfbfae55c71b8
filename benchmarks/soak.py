"""Many calls through `outdial up` at full speed: does it stay as it was, and is all accounted for?

Prints a line every 10,000 calls: calls a second, how long a call took from being accepted to its
end in the ledger (most of it is waiting in line, of the same length for each), memory of `up` and
the size of its files. Then compares the last 10,000 with the first, and runs the audit.

    python -m benchmarks.soak [--calls 100000] [--database URL] [--speed 2000]
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.pipeline import IN_FLIGHT, Program, check, memory_mb, place, running, settled

#: Calls placed before it waits for all of them, and calls a line.
_ROUND = 2_000
_LINE = 10_000
_PAGE = 200


async def soak(arguments: argparse.Namespace) -> int:
    """All of it; 1 where the audit found a fault."""
    with tempfile.TemporaryDirectory(prefix="outdial-soak-") as folder:
        home = Path(folder)
        async with running(home, arguments.database, arguments.speed) as program:
            headers = {"Authorization": f"Bearer {program.key}"}
            connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
            async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
                # The first calls pay for what is loaded late.
                await place(session, program.url, 20)
                await settled(session, program.url)
                lines = await placed(session, program, home, arguments.calls)
                await check(session, program, arguments.calls + 20)
            for name, (first, last) in zip(("median", "p95"), lines, strict=True):
                print(f"latency, {name}: the last {last / first:.2f} of the first")
            return await audited(program, home, arguments.database)


async def placed(
    session: aiohttp.ClientSession, program: Program, home: Path, calls: int
) -> list[tuple[float, float]]:
    """Place all, a line every so many; the first and last median and 95th percentile, in s."""
    print(
        f"{'calls':>8} {'calls/s':>8} {'latency: median':>16} {'p95':>8} {'memory':>9} {'files':>9}"
    )
    seen: list[tuple[float, float]] = []
    marks = [*range(0, calls, _LINE), calls]
    for start, end in pairwise(marks):
        begun = time.perf_counter()
        for done in range(start, end, _ROUND):
            await place(session, program.url, min(_ROUND, end - done))
            await settled(session, program.url)
        took = time.perf_counter() - begun
        latencies = await newest(session, program.url, end - start)
        median, p95 = statistics.median(latencies), statistics.quantiles(latencies, n=20)[-1]
        seen.append((median, p95))
        print(
            f"{end:>8} {(end - start) / took:>8.0f} {median:>14.2f} s {p95:>6.2f} s "
            f"{memory_mb(program.pid):>6.0f} MB {size_mb(home):>6.0f} MB",
            flush=True,
        )
    return list(zip(seen[0], seen[-1], strict=True))


async def newest(session: aiohttp.ClientSession, url: str, count: int) -> list[float]:
    """Seconds from accepted to ended of the newest calls, as the ledger dates both."""
    found: list[float] = []
    cursor = ""
    while len(found) < count:
        query = f"limit={min(_PAGE, count - len(found))}{cursor}"
        async with session.get(f"{url}/v1/calls?{query}") as response:
            page: dict[str, Any] = await response.json()
        found += [
            (moment(call["updated_at"]) - moment(call["created_at"])).total_seconds()
            for call in page["items"]
        ]
        cursor = f"&cursor={page['next_cursor']}"
    return found


def size_mb(folder: Path) -> float:
    """What its files take."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def moment(text: str) -> datetime:
    """ISO 8601 as the API tells it."""
    return datetime.fromisoformat(text)


async def audited(program: Program, home: Path, database: str | None) -> int:
    """What `outdial audit` says beside the running `up`; its exit code."""
    environment = os.environ | {"OUTDIAL_HOME": str(home), "OUTDIAL_API_KEY": program.key}
    if database is not None:
        environment["OUTDIAL_DATABASE_URL"] = database
    begun = time.perf_counter()
    audit = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("outdial")), "audit", "--json"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await audit.communicate()
    told = json.loads(said)
    counts = ", ".join(f"{count} {what}" for what, count in told["checked"].items())
    found = len(told["violations"])
    print(f"audit in {time.perf_counter() - begun:.0f} s: {found} violations in {counts}")
    return audit.returncode or 0


if __name__ == "__main__":
    read = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    read.add_argument("--calls", type=int, default=100_000)
    read.add_argument("--database", help="postgresql://… instead of SQLite")
    read.add_argument("--speed", type=float, default=2000, help="the simulator's")
    sys.exit(asyncio.run(soak(read.parse_args())))

"""The demo's course: start, import, watch, prove, show."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer

from outdial import bootstrap
from outdial.bootstrap import Running
from outdial.cli import home, progress, session, stopping
from outdial.cli.demo import board, stage
from outdial.cli.demo.proof import Evidence, prove
from outdial.cli.demo.result import Result, say_result
from outdial.cli.demo.sources import Sources, opened
from outdial.cli.output import complain, counted, note, say, say_facts, say_json, styled
from outdial.cli.up import dashboard_link, remember
from outdial.client import Call
from outdial.config import Settings
from outdial.contacts.placing import Placing
from outdial.contacts.reader import Contacts, Reading, Row
from outdial.contacts.rejects import SUFFIX, Rejects
from outdial.contacts.source import Source, open_source
from outdial.errors import OutdialError

_LOOK_SECONDS = 0.25
#: Seconds in which nothing has moved: something is wrong.
_STUCK_SECONDS = 90.0
CAMPAIGN = "demo"


def run(file: str, *, wait: bool, speed: float, as_json: bool) -> None:
    """See `outdial.cli.demo.demo`."""
    source = open_source(file)
    try:
        settings = stage.settings()
        with home.held(settings.home):
            stage.refresh(settings.home)
            course = _Course(settings, source, speed=speed, as_json=as_json)
            stay = wait and sys.stdin.isatty() and sys.stdout.isatty()
            stopping.run_until_stopped(lambda stop: course.run(stop, stay=stay))
    finally:
        source.close()
    if course.interrupted:
        complain("interrupted")
        raise typer.Exit(130)
    if course.result is None or not course.result.holds:
        raise typer.Exit(1)


class _Course:
    """One demo under way."""

    def __init__(self, settings: Settings, source: Source, *, speed: float, as_json: bool) -> None:
        self._settings = settings
        self._source = source
        self._speed = speed
        self._as_json = as_json
        self.result: Result | None = None
        self.interrupted = False

    async def run(self, stop: asyncio.Event, *, stay: bool) -> None:
        """Everything, from the start of the stages to their end."""
        if not self._as_json:
            say(styled("Outdial's demo dials the simulator: no phone rings.", "bold"))
            say(
                f"The pace is lifted to {stage.RATE} calls a second and {stage.AT_ONCE} at once "
                f"(by default 1 and 20);\ncalls pass {self._speed:g} times as fast."
            )
        ready: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        ending = asyncio.Event()
        serving = asyncio.create_task(
            bootstrap.up(
                self._settings,
                host=session.LOOPBACK,
                ports=stage.ports(),
                on_ready=ready.set_result,
                stop=ending,
                speed=self._speed,
            )
        )
        stopped = asyncio.create_task(stop.wait())
        try:
            starting: set[asyncio.Future[Any]] = {ready, serving, stopped}
            with progress.shown("Starting the stages and the simulator"):
                await asyncio.wait(starting, return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                remember(self._settings, ready.result())
                playing = asyncio.create_task(self._play(ready.result(), stop, stay=stay))
                await asyncio.wait({playing, serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
                await self._end(playing, stop)
        finally:
            stopped.cancel()
            ending.set()
            await serving

    async def _end(self, playing: "asyncio.Task[None]", stop: asyncio.Event) -> None:
        if not playing.done():
            # Ctrl-C while the dashboard was up is the usual end, before that it is none.
            self.interrupted = stop.is_set() and self.result is None
            playing.cancel()
            await asyncio.wait({playing})
        if not playing.cancelled():
            playing.result()

    async def _play(self, running: Running, stop: asyncio.Event, *, stay: bool) -> None:
        key = str((running.new_key or {})["key"])
        async with opened(running.urls, key) as sources:
            self.result = await self._perform(sources)
        if self._as_json:
            say_json(self.result.as_json())
        else:
            say_result(self.result)
            if not self.result.holds:
                complain("the proof does not hold; see above")
        if stay:
            self._say_where(running.urls)
            await stop.wait()

    async def _perform(self, sources: Sources) -> Result:
        began = time.monotonic()
        with board.shown() as shown:
            placed, rejected = await _Watch(sources, shown).run(self._source)
        seconds = time.monotonic() - began
        if not placed:
            raise OutdialError(f"{self._source.name}: no row could be placed")
        if not self._as_json:
            say(f"\n{counted(len(placed), 'call')} in {seconds:.1f} s.")
        if rejected is not None:
            note(f"Some rows were left out, with the reason: {rejected}")
        evidence = Evidence(
            placed=placed,
            calls=await sources.calls(placed, lambda _: None),
            dials=await sources.dials(),
            analytics=await sources.overview(),
        )
        return Result(
            claims=prove(evidence),
            funnel=await sources.funnel(),
            outcomes=await sources.outcomes(),
            metrics=evidence.analytics,
            seconds=seconds,
        )

    def _say_where(self, urls: Mapping[str, str]) -> None:
        say_facts(
            [
                ("Dashboard", dashboard_link(self._settings, urls["web-api"])),
                ("Voice API", urls["internal-api"] + "/docs"),
                ("Simulator", urls["simulator"] + "/sim"),
                ("Look closer", f"OUTDIAL_HOME={self._settings.home} outdial calls list"),
            ]
        )
        say("\nStop with Ctrl-C.")


class _Watch:
    """The import and, beside it, the look at where the calls are."""

    def __init__(self, sources: Sources, shown: board.Board) -> None:
        self._sources = sources
        self._board = shown
        self._placed: list[str] = []
        self._total: int | None = None

    async def run(self, source: Source) -> tuple[list[str], Path | None]:
        """Until every call has ended; the calls' ids, and the file of rejected rows, if any."""
        watching = asyncio.create_task(self._watch())
        try:
            rejected = await self._import(source)
            self._total = len(self._placed)
            await watching
        finally:
            watching.cancel()
        return self._placed, rejected

    async def _import(self, source: Source) -> Path | None:
        contacts = Contacts(source, Reading(defaults={"campaign": CAMPAIGN}))
        rejects = Rejects(Path(source.name + SUFFIX), contacts.header, contacts.delimiter)

        def reject(row: Row, reason: str) -> None:
            rejects.add(row.row, reason, row.cells)

        def ignore(*_: object) -> None:
            """What is there to be seen, the board shows."""

        api = _Noting(self._sources, self._placed.append)
        placing = Placing(
            api,
            reject=reject,
            duplicate=reject,
            moved=ignore,
            waiting=ignore,
            judge=lambda _: None,
        )
        try:
            await placing.run(iter(contacts))
        finally:
            rejects.close()
        return rejects.path if rejects.count else None

    async def _watch(self) -> None:
        last: tuple[int, ...] = ()
        moved = time.monotonic()
        while True:
            stats = await self._sources.stats()
            metrics = await self._sources.overview()
            ended = metrics["calls"] - metrics["waiting"] - metrics["under_way"]
            standing = board.Standing(
                total=self._total,
                accepted=len(self._placed),
                dialed=stats["rang"],
                in_progress=stats["running"],
                ended=ended,
                outcomes=await self._sources.outcomes(),
            )
            self._board.show(standing)
            if self._total is not None and ended >= self._total:
                return
            now = (standing.accepted, standing.dialed, standing.in_progress, standing.ended)
            if now != last:
                last, moved = now, time.monotonic()
            elif time.monotonic() - moved > _STUCK_SECONDS:
                raise OutdialError(
                    f"nothing has moved for {_STUCK_SECONDS:.0f} s: accepted {now[0]}, "
                    f"dialed {now[1]}, in progress {now[2]}, ended {now[3]}"
                )
            await asyncio.sleep(_LOOK_SECONDS)


class _Noting:
    """What an import asks of the Voice API, noting the ids of the calls placed."""

    def __init__(self, sources: Sources, placed: Callable[[str], None]) -> None:
        self._sources = sources
        self._placed = placed

    async def place_batch(self, calls: Any) -> Any:  # noqa: ANN401 - as the client's
        """See `Client.place_batch`."""
        async for answer in self._sources.voice.place_batch(calls):
            if answer.id is not None:
                self._placed(answer.id)
            yield answer

    async def get(self, call_id: str) -> Call:
        """See `Client.get`."""
        return await self._sources.voice.get(call_id)

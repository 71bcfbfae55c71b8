"""One crash test: calls placed among faults while processes are killed, and then the judgement."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from systemtest.accounts import ATTEMPT_ENDS
from systemtest.crash_fleet import Fleet
from systemtest.crash_judges import (
    dialed_twice,
    faults_of_dialing,
    faults_of_statuses,
    faults_of_telling,
    lost,
)
from systemtest.crash_ports import ReservedPorts
from systemtest.crash_sink import MoodySink
from systemtest.crash_stacks import Parts
from systemtest.installation import Installation
from systemtest.services import keys
from systemtest.waiting import wait_until

#: Everything that the platform can do wrong, at once; shares of calls or of webhooks.
FAULTS = {
    "lost_request": 0.03,
    "lost_response": 0.05,
    "error_after_commit": 0.05,
    "rate_limited": 0.05,
    "webhook_first": 0.1,
    "duplicate": 0.2,
    "reorder": 0.2,
    "delay": 0.1,
    "drop": 0.05,
    "bad_signature": 0.02,
}
#: Mean seconds from one kill to the next at least, on a machine that keeps up.
_GAP = 0.8
#: Processes that may be starting while another one is killed: a machine with few cores would
#: else do nothing but start them.
_STARTING = 1
_CHUNK = 20


@dataclass(frozen=True)
class Plan:
    """How large, and by which dice. The same seed kills the same processes in the same order."""

    calls: int
    kills: int
    seed: int


@dataclass
class Outcome:
    """What a run came to. `violations`: everything that was promised and not kept."""

    plan: Plan
    stack: str
    seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    dials: int = 0
    events: int = 0
    repeated: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    simulator: dict[str, Any] = field(default_factory=dict)
    audited: dict[str, int] = field(default_factory=dict)


class CrashRun:
    """One run in a folder of its own."""

    def __init__(
        self, plan: Plan, parts: Parts, folder: Path, tell: Callable[[str], None] = print
    ) -> None:
        """`tell` gets lines of progress."""
        self._plan = plan
        self._tell = tell
        self._chance = random.Random(plan.seed)  # noqa: S311 - whom to kill when, and repeatable
        self._parts = parts
        self._folder = folder
        self._outcome = Outcome(plan, parts.name)

    def run(self) -> Outcome:
        """All of it. `AssertionError` where the run could not come to its end."""
        began = time.monotonic()
        with (
            ReservedPorts() as ports,
            self._installation() as installation,
        ):
            fleet = Fleet(installation, ports)
            fleet.start()
            self._tell(f"  {time.monotonic() - began:3.0f} s: {len(fleet.names)} processes run")
            modes = ("reject", "accept_then_end")
            installation.simulator.set_faults({**FAULTS, "limit_mode": self._chance.choice(modes)})
            placing = _Placing(installation, self._plan)
            placing.start()
            self._kill(fleet, placing, installation)
            placing.allow(1.0)
            self._tell(f"  {time.monotonic() - began:3.0f} s: the last one was killed")
            wait_until("all are placed", lambda: not placing.is_alive(), seconds=120)
            patience = 120 + self._plan.calls * 0.05
            self._wait_until_ended(installation, patience)
            self._wait_until_told(installation, patience)
            fleet.check()
            self._tell(f"  {time.monotonic() - began:3.0f} s: all have ended and are told")
            self._outcome.kills = fleet.kills
            self._judge(installation, placing.ids)
        self._outcome.seconds = time.monotonic() - began
        return self._outcome

    @property
    def _seconds(self) -> float:
        """From the first kill to the last one, on a machine that keeps up."""
        return max(self._plan.kills * _GAP, self._plan.calls / self._parts.most_calls, 5.0)

    def _installation(self) -> Installation:
        # All calls are due within the time that the kills take.
        rate = max(10.0, self._plan.calls / self._seconds * 1.25)
        settings = self._parts.settings | {
            "dial_rate": f"{rate:.0f}",
            "max_concurrent_calls": "300",
            # A hint that a killed process had in hand is not waited for.
            "republish_after": "3",
            "reconcile_after": "6",
        }
        sink = MoodySink(self._plan.seed)
        return Installation(self._folder, sink, stack=self._parts.stack, **settings)

    def _kill(self, fleet: Fleet, placing: "_Placing", installation: Installation) -> None:
        told = time.monotonic()
        for number in range(1, self._plan.kills + 1):
            time.sleep(self._chance.uniform(0.1, 2 * self._seconds / self._plan.kills - 0.1))
            wait_until("the others have started", lambda: len(fleet.starting) <= _STARTING)
            fleet.kill(self._chance.choice(fleet.names))
            placing.allow(number / self._plan.kills)
            if time.monotonic() - told > 2:
                told = time.monotonic()
                self._tell(
                    f"  {number} kills, {len(placing.ids)} calls accepted, "
                    f"{len(installation.receiver.events)} events told"
                )

    def _wait_until_ended(self, installation: Installation, seconds: float) -> None:
        def under_way() -> list[str]:
            try:
                return installation.api.under_way()
            except httpx.TransportError:
                return ["the API is starting again"]

        wait_until("all have ended", lambda: not under_way(), seconds=seconds, progress=under_way)

    def _wait_until_told(self, installation: Installation, seconds: float) -> None:
        """Until the end of everything that was dialed is told, or it is too late."""
        dialed = {dial["call_id"] for dial in installation.simulator.dials()}

        def told() -> bool:
            ended = {
                event.data["retell_call_id"]
                for event in list(installation.receiver.events)
                if event.type in ATTEMPT_ENDS
            }
            return dialed <= ended

        try:
            wait_until("all that was dialed is told", told, seconds=seconds)
        except AssertionError as error:
            # The judges name each of them.
            self._outcome.violations.append(str(error))

    def _judge(self, installation: Installation, accepted: list[str]) -> None:
        outcome = self._outcome
        statuses = installation.api.statuses()
        dials = installation.simulator.dials()
        events = list(installation.receiver.events)
        outcome.simulator = installation.simulator.stats()
        outcome.accepted = len(set(accepted))
        outcome.statuses = Counter(statuses.values())
        outcome.dials = len(dials)
        outcome.events = len({event.id for event in events})
        outcome.repeated = len(events) - outcome.events
        outcome.lost = lost(accepted, dials)
        outcome.twice = dialed_twice(dials)
        outcome.violations += [f"call {each} was never dialed" for each in outcome.lost]
        outcome.violations += [f"call {each} was dialed twice" for each in outcome.twice]
        if len(accepted) != self._plan.calls or outcome.accepted != self._plan.calls:
            outcome.violations.append(f"{outcome.accepted} of {self._plan.calls} were accepted")
        outcome.violations += faults_of_dialing(accepted, dials)
        outcome.violations += faults_of_statuses(accepted, statuses)
        outcome.violations += faults_of_telling(events, dials, statuses)
        self._audit(installation)

    def _audit(self, installation: Installation) -> None:
        options = ("--tenant", "auditor", "--scope", "admin", "--json")
        key = json.loads(installation.run("keys", "create", *options))["key"]
        installation.environment["OUTDIAL_API_KEY"] = key
        printed = installation.run("audit", "--json", codes=(0, 1), seconds=900)
        audit = json.loads(printed)
        self._outcome.audited = audit["checked"]
        self._outcome.violations += [f"audit: {each}" for each in audit["violations"]]
        if not audit["ok"] and not audit["violations"]:
            self._outcome.violations.append(f"the audit is not content: {audit}")


class _Placing(threading.Thread):
    """Places calls as the kills go on, and the same ones again where the Voice API went away."""

    def __init__(self, installation: Installation, plan: Plan) -> None:
        super().__init__(daemon=True)
        self._installation = installation
        self._calls = plan.calls
        self._allowed = threading.Semaphore(0)
        self._chunks = -(-plan.calls // _CHUNK)
        self._given = 0
        self.ids: list[str] = []
        self.allow(0.1)

    def allow(self, share: float) -> None:
        """Place so much of all, and a tenth more: the last ones are dialed among kills, too."""
        wanted = min(self._chunks, round(self._chunks * (share * 1.2 + 0.1)))
        while self._given < wanted:
            self._given += 1
            self._allowed.release()

    def run(self) -> None:
        """Until all are accepted."""
        for start in range(0, self._calls, _CHUNK):
            self._allowed.acquire()
            wanted = keys(min(_CHUNK, self._calls - start), start=start)
            self.ids += self._installation.api.place_patiently(wanted)

"""The ground a life is lived on: a platform, a receiver, a database; and the judgement after it."""

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from outdial.simulator.settings import Settings as SimulatorSettings
from systemtest.accounts import wait_until_ended, wait_until_told
from systemtest.crash_judges import (
    dialed_twice,
    faults_of_dialing,
    faults_of_statuses,
    faults_of_telling,
    lost,
)
from systemtest.crash_ports import ReservedPorts
from systemtest.receiver import Receiver
from systemtest.services import Simulator, VoiceApi, keys
from systemtest.waiting import wait_until
from tests.kill_points.life import Life, Retell
from tests.kill_points.nursery import Child, Nursery
from tests.kill_points.points import Point
from tests.kill_points.table import Case

CALLS = 3
#: Far more than any of it takes, also on a machine that is busy with other tests.
SECONDS = 150
_KEY = "key_simulator"


class Ground:
    """A simulator, a receiver, and the program's lives one after the other."""

    def __init__(
        self, case: Case, folder: Path, url: str, nursery: Nursery, stack: ExitStack
    ) -> None:
        """`url`: the database's. `stack` ends what is begun here."""
        self._case = case
        self._folder = folder
        self._nursery = nursery
        self._stack = stack
        self._ports = stack.enter_context(ReservedPorts())
        self._receiver = Receiver()
        stack.callback(self._receiver.close)
        self._environment = {
            "OUTDIAL_HOME": str(folder),
            "OUTDIAL_DATABASE_URL": url,
            "OUTDIAL_RETELL_API_KEY": _KEY,
            "OUTDIAL_RETELL_BASE_URL": self._ports.url("simulator"),
            "OUTDIAL_ACTIVITY_SINK_URL": self._receiver.url,
            "OUTDIAL_DEFAULT_FROM_NUMBER": "+14155550100",
            "OUTDIAL_DIAL_RATE": "50",
            "OUTDIAL_ATTEMPT_LEASE": "2",
            "OUTDIAL_REPUBLISH_AFTER": "2",
            "OUTDIAL_RECONCILE_AFTER": "3" if case.asked else "900",
            "OUTDIAL_AUTH": "none",
        }
        self._api = VoiceApi(self._ports.url("internal-api"), "-")
        self._simulator = Simulator(self._ports.url("simulator"))
        stack.callback(self._api.close)
        stack.callback(self._simulator.close)
        self._ids: list[str] = []

    def run(self, patience: float = SECONDS) -> list[str]:
        """All lives, and the faults found in what they did.

        After `patience` seconds of the last life what has not ended by then is a fault.
        """
        self._live_through()
        try:
            self._wait_for_all(patience)
        except AssertionError as error:
            return [str(error), *self._faults()]
        return self._faults()

    def _live_through(self) -> None:
        self._begin_retell()
        placing = threading.Thread(target=self._place, daemon=True)
        for number, kill in enumerate(self._case.kills):
            life = self._live(number, kill)
            if number == 0:
                placing.start()
            wait_until(f"{kill} is reached", life.has_ended, seconds=SECONDS)
            reached = self._witness(number).read_text()
            assert reached == str(kill), f"it died at {reached!r} instead of {kill}"
        self._live(len(self._case.kills), None)
        placing.join(60)
        wait_until("the program is up", lambda: _answers(self._api.statuses))

    def _wait_for_all(self, seconds: float) -> None:
        wait_until_ended(self._api, self._ids, seconds=seconds)
        wait_until_told(self._receiver, self._ids, seconds=seconds)
        if self._case.loaded:
            wait_until("all is loaded", self._all_is_loaded, seconds=seconds, progress=self._loaded)

    def _analytics(self, grain: str) -> list[Any]:
        """The warehouse's rows, as the web API tells them."""
        answer = httpx.get(f"{self._ports.url('web-api')}/v1/analytics/{grain}", trust_env=False)
        found: list[Any] = answer.json()["items"]
        return found

    def _all_is_loaded(self) -> bool:
        """Every call once, as ended, and as many attempts as it took (a slow one is put off)."""
        calls = self._analytics("calls")
        took = Counter({call["id"]: call["attempts"] for call in calls})
        return (
            sorted(call["id"] for call in calls) == sorted(self._ids)
            and all(call["ended_at"] is not None for call in calls)
            and Counter(attempt["call_id"] for attempt in self._analytics("attempts")) == took
        )

    def _loaded(self) -> list[tuple[Any, ...]]:
        return [
            tuple(call[name] for name in ("id", "status", "attempts", "ended_at"))
            for call in self._analytics("calls")
        ]

    def _place(self) -> None:
        self._ids += self._api.place_patiently(keys(CALLS), metadata=dict(self._case.metadata))

    def _begin_retell(self) -> None:
        settings = SimulatorSettings(
            home=self._folder,
            port=self._ports.port("simulator"),
            speed=self._case.speed,
            webhook_url=self._ports.url("webhook") + "/webhooks/retell",
            api_key=_KEY,
            rate=0,
            concurrency=0,
        )
        child = self._nursery.fork(Retell(settings, self._folder / "simulator.log"))
        self._stack.callback(child.kill)
        wait_until("the simulator is up", lambda: _answers(self._simulator.stats))
        self._simulator.set_faults(self._case.faults)

    def _live(self, number: int, kill: Point | None) -> Child:
        life = Life(
            self._environment,
            {name: self._ports.port(name) for name in ("internal-api", "webhook", "web-api")},
            self._folder / f"life.{number}.log",
            self._witness(number),
            kill,
            self._case.parked,
            self._case.loaded,
            self._case.without,
        )
        child = self._nursery.fork(life)
        self._stack.callback(child.kill)
        return child

    def _witness(self, number: int) -> Path:
        return self._folder / f"life.{number}.died"

    def _faults(self) -> list[str]:
        statuses, dials = self._api.statuses(), self._simulator.dials()
        events = list(self._receiver.events)
        faults = [f"call {each} was never dialed" for each in lost(self._ids, dials)]
        faults += [f"call {each} was dialed twice" for each in dialed_twice(dials)]
        faults += faults_of_dialing(self._ids, dials)
        faults += faults_of_statuses(self._ids, statuses)
        faults += faults_of_telling(events, dials, statuses)
        if len(set(self._ids)) != CALLS:
            faults.append(f"{len(set(self._ids))} of {CALLS} calls were accepted")
        parked = self._folder / "parked"
        left = [path for path in parked.rglob("*") if path.is_file()] if parked.exists() else []
        if left:
            faults.append(f"{len(left)} parked payloads were left behind")
        return faults


def _answers(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except httpx.TransportError:
        return False
    return True

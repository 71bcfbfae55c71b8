"""One installation of the program: a home folder, its settings, and what runs on it."""

import json
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from systemtest.parked import Parked
from systemtest.program import Program, run
from systemtest.receiver import Receiver
from systemtest.services import Simulator, VoiceApi
from systemtest.stacks import Stack, chosen_stack

#: Fast enough for tests: limits lifted, leases as short as a busy machine allows.
SETTINGS = {
    "OUTDIAL_DIAL_RATE": "200",
    "OUTDIAL_MAX_CONCURRENT_CALLS": "500",
    "OUTDIAL_ATTEMPT_LEASE": "5",
    "OUTDIAL_DEFAULT_FROM_NUMBER": "+14155550100",
    "OUTDIAL_DEFAULT_AGENT_ID": "agent_interviews",
}
#: A call of a minute passes in half a second.
SPEED = "120"
#: The simulator's own key, which it takes where it is given none.
SIMULATOR_KEY = "key_simulator"
_FREE_PORTS = [
    word
    for name in ("internal-api", "webhook", "web-api", "simulator")
    for word in (f"--{name}-port", "0")
]


class Installation:
    """Owns everything it starts; leaving the context ends it all."""

    def __init__(
        self,
        folder: Path,
        receiver: Receiver | None = None,
        /,
        *,
        stack: Stack | None = None,
        **settings: str,
    ) -> None:
        """`settings`: further variables, without their prefix, in lower case.

        `stack`: by default the one that the environment chooses.
        """
        self.home = folder / "home"
        self.receiver = receiver or Receiver()
        self.stack = stack or chosen_stack()
        self._parts = ExitStack()
        self.environment = (
            SETTINGS
            | {"OUTDIAL_ACTIVITY_SINK_URL": self.receiver.url}
            | self.stack.environment(self._parts)
            | {f"OUTDIAL_{name.upper()}": value for name, value in settings.items()}
        )
        self._programs: list[Program] = []
        self._key: str | None = None
        self.api = VoiceApi("", "")
        self.simulator = Simulator("")

    def __enter__(self) -> Self:
        """Nothing runs yet but the receiver."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what runs; after a failure show what it said."""
        for program in reversed(self._programs):
            program.end()
            if error is not None:
                print(f"--- {program.name}\n{program.log[-3000:]}")
        self.receiver.close()
        self.api.close()
        self.simulator.close()
        self._parts.close()

    def start(self, *arguments: str) -> Program:
        """Start `outdial ARGUMENTS --json` and wait until it is ready."""
        program = self.launch(*arguments)
        _ = program.ready
        return program

    def launch(self, *arguments: str) -> Program:
        """Start `outdial ARGUMENTS --json`, and wait for nothing."""
        program = Program(self.home, self.environment, *arguments, "--json")
        self._programs.append(program)
        return program

    def up(self) -> Program:
        """Start `outdial up` on free ports; `api` and `simulator` follow it there."""
        if not self.stack.simulator_within_up:
            self._simulate()
        program = self.start("up", *_FREE_PORTS, "--speed", SPEED)
        if program.ready["key"] is not None:
            self._key = program.ready["key"]["key"]
        urls = program.ready["urls"]
        self.reach(urls["internal-api"], urls.get("simulator", self.simulator.url))
        return program

    def entry(self, own: str) -> str:
        """Where the platform's webhooks go; `own` is the address of the program's own route."""
        return self.stack.entry(self.environment, own)

    def parked(self) -> Parked:
        """Its payloads too large for a queue."""
        return self.stack.parked(self.environment, self.home)

    def _simulate(self) -> None:
        """A simulator of its own, unless there is one or the test has something else in mind."""
        if "OUTDIAL_RETELL_BASE_URL" in self.environment:
            return
        self.environment["OUTDIAL_RETELL_API_KEY"] = SIMULATOR_KEY
        simulator = self.start(
            *("serve", "simulator", "--port", "0", "--speed", SPEED),
            *("--webhook-url", self.entry("")),
        )
        self.environment["OUTDIAL_RETELL_BASE_URL"] = simulator.ready["simulator"]
        self.simulator.url = simulator.ready["simulator"]

    def reach(self, api_url: str, simulator_url: str) -> None:
        """Where the services are now."""
        if self._key is None:
            self._key = self._create_key()
        if not self.api.url:
            self.api.close()
            self.api = VoiceApi(api_url, self._key)
        self.api.url = api_url
        self.simulator.url = simulator_url

    def run(self, *arguments: str, codes: Collection[int] = (0,), seconds: float = 60.0) -> str:
        """Run a command to its end, with one of these exit codes; what it printed."""
        return run(self.home, self.environment, *arguments, codes=codes, seconds=seconds)

    def _create_key(self) -> str:
        scopes = ("calls:write", "calls:read", "admin")
        options = [word for scope in scopes for word in ("--scope", scope)]
        printed = self.run("keys", "create", "--tenant", "engage", *options, "--json")
        created: dict[str, Any] = json.loads(printed)
        key: str = created["key"]
        return key

"""Every stage in a process of its own, to be killed at any moment and started again at once."""

import os
from collections import Counter
from collections.abc import Mapping

from systemtest.crash_ports import ReservedPorts
from systemtest.installation import SPEED, Installation
from systemtest.program import Program

#: How many processes of each stage. The simulator is one of them: it stands for Retell, and a
#: restart of it forgets nothing.
PROCESSES: Mapping[str, int] = {
    "internal-api": 1,
    "webhook": 1,
    "call-processor": 2,
    "webhook-processor": 1,
    "relay": 2,
    "web-api": 1,
    "reconciler": 1,
    "simulator": 1,
}
#: Any key will do for the simulator.
RETELL_KEY = "key_crash_test"


class Fleet:
    """The processes of one installation, by name: the stage and a number."""

    def __init__(self, installation: Installation, ports: ReservedPorts) -> None:
        """Nothing runs yet."""
        self.kills: Counter[str] = Counter()
        self._installation = installation
        self._ports = ports
        self._running: dict[str, Program] = {}
        self._entry = ""
        # Who is killed leaves no record of what it covered, and is twice as slow with one.
        measuring = [name for name in os.environ if name.startswith("COVERAGE_")]
        installation.environment |= dict.fromkeys(measuring, "")
        installation.environment["OUTDIAL_RETELL_API_KEY"] = RETELL_KEY
        installation.environment["OUTDIAL_RETELL_BASE_URL"] = ports.url("simulator 1")

    @property
    def names(self) -> list[str]:
        """All processes. Where the entry is a Lambda there is none to kill."""
        counts = dict(PROCESSES)
        if self._installation.stack.name == "aws":
            del counts["webhook"]
        return [f"{stage} {n}" for stage, count in counts.items() for n in range(1, count + 1)]

    @property
    def starting(self) -> list[str]:
        """Those that are not ready yet."""
        return [name for name, program in self._running.items() if not program.is_ready]

    def start(self) -> None:
        """Make the database, start all processes and wait until they are ready."""
        installation = self._installation
        installation.run("db", "upgrade")
        self._entry = installation.entry(self._ports.url("webhook 1") + "/webhooks/retell")
        for name in self.names:
            self._start(name)
        for program in self._running.values():
            _ = program.ready
        installation.reach(self._ports.url("internal-api 1"), self._ports.url("simulator 1"))

    def kill(self, name: str) -> None:
        """SIGKILL, and another one takes its place; it may be killed before it is ready."""
        self.check()
        self._running[name].kill()
        self.kills[name.split(maxsplit=1)[0]] += 1
        self._start(name)

    def check(self) -> None:
        """`AssertionError` where a process ended that nobody had killed."""
        for name, program in self._running.items():
            assert program.running, f"{name} ended by itself:\n{program.log[-3000:]}"

    def _start(self, name: str) -> None:
        stage = name.split(maxsplit=1)[0]
        arguments = ["serve", stage, "--port", str(self._ports.port(name))]
        if stage == "simulator":
            arguments += ["--speed", SPEED, "--webhook-url", self._entry]
        self._running[name] = self._installation.launch(*arguments)

"""What the program depends on goes away and comes back: nothing is lost, and nobody helps."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from systemtest.accounts import (
    assert_accounted_for,
    wait_until_dialed,
    wait_until_ended,
    wait_until_told,
)
from systemtest.crash_ports import ReservedPorts
from systemtest.installation import SPEED, Installation
from systemtest.outages import HangingSink, hardly_busy, locked, small_disk
from systemtest.program import Program
from systemtest.services import keys
from systemtest.stacks import AwsStack, EmbeddedStack
from tests.aws_emulator import emulator
from tests.postgres_server import running_server

pytestmark = pytest.mark.long

#: Placed before and during an outage that lasts this many seconds.
CALLS = 40
LASTS = 12.0
_KEY = "key_outages"


class Ground:
    """`outdial up`, and a simulator that has a home of its own."""

    def __init__(self, installation: Installation, folder: Path, ports: ReservedPorts) -> None:
        """Both run."""
        self._installation = installation
        self._folder = folder
        self._ports = ports
        installation.environment |= {
            "OUTDIAL_RETELL_API_KEY": _KEY,
            "OUTDIAL_RETELL_BASE_URL": ports.url("simulator"),
            "OUTDIAL_DIAL_RATE": "15",
            "OUTDIAL_REPUBLISH_AFTER": "5",
            # Retell gives a webhook up after seven seconds; from then on it must be asked.
            "OUTDIAL_RECONCILE_AFTER": "20",
        }
        self._entry = installation.entry(ports.url("webhook") + "/webhooks/retell")
        self.retell = self.begin_retell()
        self.up = installation.start(
            *("up", "--webhook-port", str(ports.port("webhook"))),
            *("--internal-api-port", "0", "--web-api-port", "0"),
        )
        installation.reach(self.up.ready["urls"]["internal-api"], ports.url("simulator"))
        self.ids: list[str] = []

    def begin_retell(self) -> Program:
        """Start the simulator where it was."""
        self.retell = Program(
            self._folder / "retell",
            self._installation.environment,
            *("serve", "simulator", "--port", str(self._ports.port("simulator"))),
            *("--speed", SPEED, "--json"),
            *("--webhook-url", self._entry),
        )
        _ = self.retell.ready
        return self.retell

    def work(self) -> None:
        """Place calls, and return in the middle of dialing them."""
        self.ids += self._installation.api.place(keys(CALLS))
        wait_until_dialed(self._installation.simulator, CALLS // 4)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """More calls are placed during an outage, and the program is hardly busy."""
        self._more = threading.Thread(target=self._place_more, daemon=True)
        with hardly_busy(self.up.pid, seconds=LASTS):
            self._more.start()
            yield

    def judge(self) -> None:
        """All that was asked for is accounted for, and it is the same process that did it."""
        self._more.join(120)
        installation = self._installation
        assert len(self.ids) == 2 * CALLS
        wait_until_ended(installation.api, self.ids)
        wait_until_told(installation.receiver, self.ids)
        assert self.up.running
        assert_accounted_for(
            installation.api, installation.simulator, installation.receiver, self.ids
        )

    def _place_more(self) -> None:
        # Where the database is away, they are accepted after it.
        self.ids += self._installation.api.place_patiently(keys(CALLS, start=CALLS), seconds=120)


@contextlib.contextmanager
def ground(installation: Installation, folder: Path) -> Iterator[Ground]:
    """All that runs for one test."""
    with ReservedPorts() as ports, installation:
        made = Ground(installation, folder, ports)
        try:
            yield made
        finally:
            os.kill(made.retell.pid, signal.SIGCONT)
            made.retell.end()


def test_the_database_is_restarted(tmp_path: Path) -> None:
    """With the database gone in the middle of it all, every process goes on when it is back."""
    with running_server() as server, server.database("outage") as url:
        # What this server has committed outlives a crash of it, as it does in production.
        server.run('ALTER DATABASE "outage" SET synchronous_commit TO on')
        with ground(Installation(tmp_path, database_url=url), tmp_path) as there:
            there.work()
            with server.stopped(), there.waiting():
                pass
            there.judge()


@pytest.mark.parametrize("file", ["outdial.db", "queue.db"])
def test_the_file_is_locked(file: str, tmp_path: Path) -> None:
    """With somebody else writing to the database's file, or to the queues', calls wait."""
    with ground(Installation(tmp_path, stack=EmbeddedStack()), tmp_path) as there:
        there.work()
        with locked(tmp_path / "home" / file), there.waiting():
            pass
        there.judge()


def test_aws_hangs(tmp_path: Path) -> None:
    """With SQS, S3 and Lambda taking requests and answering nothing, calls wait in the ledger."""
    with ground(Installation(tmp_path, stack=AwsStack()), tmp_path) as there:
        there.work()
        with emulator().hanging(), there.waiting():
            pass
        there.judge()


def test_the_sink_answers_500(tmp_path: Path) -> None:
    """With the sink refusing all events, dialing goes on, and all is told afterwards."""
    installation = Installation(tmp_path)
    with ground(installation, tmp_path) as there:
        installation.receiver.up = False
        there.work()
        with there.waiting():
            pass
        assert installation.receiver.refused
        assert not installation.receiver.events
        installation.receiver.up = True
        there.judge()


def test_the_sink_hangs(tmp_path: Path) -> None:
    """With a sink that takes events and answers nothing, dialing goes on; then all is told."""
    sink = HangingSink()
    with ground(Installation(tmp_path, sink), tmp_path) as there:
        with sink.hanging():
            there.work()
            with there.waiting():
                pass
            assert not sink.events
        there.judge()


def test_the_disk_is_full(tmp_path: Path) -> None:
    """With no room for database and queues, nothing new is accepted and nothing is forgotten."""
    with (
        small_disk() as (disk, full),
        ground(Installation(disk, stack=EmbeddedStack()), tmp_path) as there,
    ):
        there.work()
        with full(there.up.pid), there.waiting():
            pass
        there.judge()


def test_retell_hangs(tmp_path: Path) -> None:
    """With Retell taking connections and answering nothing, calls wait, and none is doubled."""
    with ground(Installation(tmp_path), tmp_path) as there:
        there.work()
        os.kill(there.retell.pid, signal.SIGSTOP)
        with there.waiting():
            pass
        os.kill(there.retell.pid, signal.SIGCONT)
        there.judge()


def test_retell_is_gone(tmp_path: Path) -> None:
    """With nobody listening where Retell is, calls wait, and none is doubled."""
    with ground(Installation(tmp_path), tmp_path) as there:
        there.work()
        there.retell.kill()
        with there.waiting():
            pass
        there.begin_retell()
        there.judge()

"""Facts about the process: crashes, restarts, stopping, and starting wrongly."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from tests.simulator.running import Caller, Launch, Receiver, command

NUMBER = "+15005550101"


async def test_crash_forgets_nothing(launch: Launch, receiver: Receiver, tmp_path: Path) -> None:
    """After SIGKILL calls, keys, faults and webhooks still to send are there."""
    home = tmp_path / "home"
    before = launch(home, speed=100)
    caller = Caller(before, receiver)
    receiver.statuses = [500] * 3
    calls = [
        await caller.dial(f"+1415555{n:04d}", idempotency_key=f"k{n}", metadata={"n": str(n)})
        for n in range(20)
    ]
    await caller.faults(duplicate=0.0, delay=0.0, limit_mode="accept_then_end")
    await asyncio.sleep(0.15)  # faults are written lazily
    dials = await caller.dials()
    before.kill()
    await caller.close()

    caller = Caller(launch(home, speed=100), receiver)
    assert await caller.dials() == dials
    assert (await caller.get("/sim/faults"))["limit_mode"] == "accept_then_end"
    assert await caller.dial("+14155550003", idempotency_key="k3") == calls[3]
    await caller.settled()
    ends = {(event["call"]["call_id"], event["event"]) for event in receiver.events}
    for call_id in calls:
        assert {(call_id, "call_ended"), (call_id, "call_analyzed")} <= ends
    # Told again after the crash, an event is told in the same words.
    assert len({body for _, body in receiver.requests}) == len(ends)
    assert len(await caller.dials()) == 20
    await caller.close()


async def test_webhooks_survive_a_crash(launch: Launch, receiver: Receiver, tmp_path: Path) -> None:
    """What nobody took before the crash is sent after it."""
    home = tmp_path / "home"
    before = launch(home, webhook_retry=60)
    caller = Caller(before, receiver)
    receiver.statuses = [503] * 3
    await caller.dial(NUMBER)
    await receiver.count(3)
    before.kill()
    await caller.close()
    launch(home)
    await receiver.count(6)
    assert sorted(receiver.names[3:]) == ["call_analyzed", "call_ended", "call_started"]


async def test_running_calls_count_after_a_restart(
    launch: Launch, receiver: Receiver, tmp_path: Path
) -> None:
    """Calls that still talk after a restart hold their places."""
    home = tmp_path / "home"
    before = launch(home, speed=1)
    caller = Caller(before, receiver)
    await caller.dial(metadata={"sim_outcome": "answered"})
    assert before.stop() == 0
    await caller.close()
    caller = Caller(launch(home, speed=1), receiver)
    assert (await caller.retell.concurrency.retrieve()).current_concurrency == 1
    await caller.close()


def test_signals_stop_it_cleanly(launch: Launch) -> None:
    """SIGTERM and SIGINT both end it with 0."""
    for number in (signal.SIGTERM, signal.SIGINT):
        simulator = launch()
        simulator.process.send_signal(number)
        assert simulator.stop() == 0


def test_port_in_use(launch: Launch, tmp_path: Path) -> None:
    """A port in use is one clear line on stderr, and exit code 1."""
    port = launch().url.rpartition(":")[2]
    second = subprocess.run(
        command(tmp_path / "second", port=port), capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert port in second.stderr
    assert second.stdout == ""


def test_wrong_usage(tmp_path: Path) -> None:
    """A speed of nothing is a usage error."""
    wrong = subprocess.run(command(tmp_path, speed=0), capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "--speed" in wrong.stderr


def test_orphan_ends(tmp_path: Path) -> None:
    """With `--with-parent` it ends when its parent was killed."""
    words = [*command(tmp_path / "sim"), "--with-parent"]
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({words!r}, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    orphan = int(parent.stdout.readline())
    watch = os.pidfd_open(orphan)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    ended = select.poll()
    ended.register(watch, select.POLLIN)
    assert ended.poll(20_000)
    os.close(watch)

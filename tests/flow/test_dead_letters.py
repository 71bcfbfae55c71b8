"""Dead letters of the real stages, on real queues: who gets there, and what comes of going back."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from outdial.adapters.sqlite_queue import QueueFile, SQLiteQueue
from outdial.core.messages import CallHint, EventMessage, encode_call_hint, encode_event
from outdial.core.submission import Placed
from outdial.ports.dialing import Claim
from outdial.ports.queue import Outgoing
from tests.flow.program import Program
from tests.ledger_world import World, analyzed, incoming, open_world, retell_id, started

#: So many in a row stop a stage, and so many are left for it then.
RUN, LEFT = 20, 15
STAGES = {"calls": "call-processor", "events": "webhook-processor"}
SETTINGS = {
    "OUTDIAL_RETELL_API_KEY": "key_x",
    "OUTDIAL_RETELL_BASE_URL": "http://127.0.0.1:9",
    # A stage takes no more messages than it may dial.
    "OUTDIAL_DIAL_RATE": "500",
    "OUTDIAL_MAX_CONCURRENT_CALLS": "500",
}


def on_queue(program: Program, name: str, *bodies: str) -> None:
    """Messages, sent as if by another stage."""

    async def send() -> None:
        file = QueueFile(program.home / "queue.db")
        queue = SQLiteQueue(file, name)
        await queue.send([Outgoing(body) for body in bodies])
        await queue.close()
        file.close()

    asyncio.run(send())


def dead(program: Program, name: str) -> list[dict[str, Any]]:
    """What `dlq list` shows."""
    items: list[dict[str, Any]] = program.json("dlq", "list", name)["items"]
    return items


def until(program: Program, name: str, count: int) -> list[dict[str, Any]]:
    """The dead letters, once there are so many."""
    for _ in range(600):
        found = dead(program, name)
        if len(found) >= count:
            return found
    raise AssertionError(found)


@pytest.mark.parametrize("name", STAGES)
def test_a_run_of_poison_stops_the_stage(tmp_path: Path, name: str) -> None:
    """It says so, and drains no queue; a person who has looked starts it again."""
    program = Program(tmp_path, SETTINGS)
    program.run("db", "upgrade")
    on_queue(program, name, *(f"nonsense {number}" for number in range(RUN + LEFT)))
    with program.started("serve", STAGES[name], "--port=0") as stage:
        letters = until(program, name, RUN)
        with pytest.raises(OSError, match="503"):
            urlopen(f"{stage.said['url']}/readyz", timeout=30)
        assert len(dead(program, name)) == RUN
    for letter in letters:
        assert "not JSON" in letter["reason"]
        assert letter["stage"] == STAGES[name]
        assert letter["body"].startswith("nonsense ")
        assert letter["received"] == 1
        assert letter["since"] >= letter["sent"]
    with program.started("serve", STAGES[name], "--port=0"):
        assert len(until(program, name, RUN + LEFT)) == RUN + LEFT


@pytest.mark.parametrize("name", STAGES)
def test_what_goes_back_unmended_comes_back(tmp_path: Path, name: str) -> None:
    """Some by their ids, or all; what is not there is sent by nobody."""
    program = Program(tmp_path, SETTINGS)
    program.run("db", "upgrade")
    on_queue(program, name, "first", "second")
    with program.started("serve", STAGES[name], "--port=0"):
        first, second = until(program, name, 2)
        assert program.json("dlq", "redrive", name, first["id"]) == {"redriven": 1}
        again = until(program, name, 2)
        assert {letter["body"] for letter in again} == {"first", "second"}
        assert second["id"] in {letter["id"] for letter in again}
        assert program.json("dlq", "redrive", name) == {"redriven": 2}
        assert len(until(program, name, 2)) == 2


def _message(claim: Claim, body: bytes, event: str) -> str:
    one = incoming(body)
    message = EventMessage(
        retell_id(claim), event, one.sha256, one.received_at, "plain", body.decode()
    )
    return encode_event(message)


def test_an_event_redriven_twice_is_applied_once(tmp_path: Path) -> None:
    """Also where it had been applied before it became a dead letter."""
    program = Program(tmp_path, SETTINGS)
    program.run("db", "upgrade")
    url = f"sqlite:///{program.home}/outdial.db"

    async def placed(world: World) -> tuple[str, Claim]:
        call_id, claim = await world.placed()
        await world.hear(started(claim))
        return call_id, claim

    call_id, claim = _in_world(url, placed)
    messages = [
        _message(claim, started(claim), "call_started"),
        _message(claim, analyzed(claim), "call_analyzed"),
    ]
    on_queue(program, "events", *messages)
    _bury(program, "events", 2)
    assert {letter["reason"] for letter in dead(program, "events")} == {"buried"}
    assert program.json("dlq", "redrive", "events") == {"redriven": 2}
    # As a queue without exactly-once would, that lost the answer to its first sending.
    on_queue(program, "events", *messages)
    with program.started("serve", "webhook-processor", "--port=0"):
        _drained(program, "events")
    assert dead(program, "events") == []
    told = _in_world(url, lambda world: world.told(call_id))
    assert told == ["initiated", "started", "completed"]


def test_a_hint_redriven_twice_dials_nobody_again(tmp_path: Path) -> None:
    """The database knows that the call was dialed."""
    program = Program(tmp_path, SETTINGS)
    program.run("db", "upgrade")
    url = f"sqlite:///{program.home}/outdial.db"

    async def placed(world: World) -> str:
        call_id = await world.accept()
        claim = await world.claim(call_id)
        await world.answer(claim, Placed(retell_id(claim)))
        return call_id

    call_id = _in_world(url, placed)
    hint = encode_call_hint(CallHint(call_id))
    on_queue(program, "calls", hint)
    _bury(program, "calls", 1)
    assert program.json("dlq", "redrive", "calls") == {"redriven": 1}
    on_queue(program, "calls", hint)
    with program.started("serve", "call-processor", "--port=0"):
        _drained(program, "calls")
    assert dead(program, "calls") == []
    call = _in_world(url, lambda world: world.call(call_id))
    assert [attempt.number for attempt in call.attempts] == [1]


def _in_world(url: str, story: Any) -> Any:
    async def tell() -> Any:
        async with open_world(url) as world:
            return await story(world)

    return asyncio.run(tell())


def _bury(program: Program, name: str, count: int) -> None:
    """Dead letters of messages that were sound, as after an outage that wore out their tries."""

    async def bury() -> None:
        file = QueueFile(program.home / "queue.db")
        queue = SQLiteQueue(file, name)
        messages = await queue.receive(count, 0, 30)
        assert len(messages) == count
        for message in messages:
            await queue.dead_letter(message, "buried", "test")
        await queue.close()
        file.close()

    asyncio.run(bury())


def _drained(program: Program, name: str) -> None:
    """Return once nothing lies in the queue."""

    async def look() -> None:
        file = QueueFile(program.home / "queue.db")
        queue = SQLiteQueue(file, name)
        for _ in range(1200):
            depth = await queue.depth()
            if not depth.visible + depth.in_flight + depth.delayed:
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError(depth)
        await queue.close()
        file.close()

    asyncio.run(look())

"""What a test can make the voice platform in memory do."""

import asyncio

from outdial.adapters.memory import MemoryPlatform
from outdial.core.submission import Placed, Unanswered


async def test_a_webhook_before_the_answer() -> None:
    """What is to happen between placing and answering happens there, and may take too long."""
    platform = MemoryPlatform()
    seen: list[str] = []

    async def hear(call_id: str) -> None:
        seen.append(call_id)
        if len(seen) > 1:
            await asyncio.Event().wait()

    platform.before_answer = hear
    first = await platform.submit({"idempotency_key": "a"}, 5)
    second = await platform.submit({"idempotency_key": "b"}, 0.01)
    assert first == Placed(seen[0])
    assert second == Unanswered("no answer within 0.01 s")
    assert [dial.retell_call_id for dial in platform.dials] == seen


async def test_keys_end() -> None:
    """After the window a key dials again; without a key every request dials."""
    times = iter((0, 9, 10, 10, 10))
    platform = MemoryPlatform(clock=lambda: next(times), idempotency_window_ms=10)
    for _ in range(3):
        await platform.submit({"idempotency_key": "a"}, 5)
    assert [dial.at for dial in platform.dials] == [0, 10]
    await platform.submit({}, 5)
    await platform.submit({}, 5)
    assert len(platform.dials) == 4

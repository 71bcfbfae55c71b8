"""What the program does so that a kill costs nothing, each to be taken out by name.

A test that passes with a program that lacks the defence it is for proves nothing. Each of these
is a mistake that systems like this one are really built with.
"""

import asyncio
import contextvars
import functools
import importlib
import itertools
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from outdial.ports.inbox import Disposition, Taken

_DATABASE = "outdial.adapters.database"
_QUEUE = "outdial.adapters.sqlite_queue.queue:SQLiteQueue"

Method = Callable[..., Any]


def take_out(name: str) -> None:
    """From this process, for good; a name of `DEFENCES`."""
    DEFENCES[name]()


def _replace(path: str, change: Callable[[Method], Method]) -> None:
    module, _, name = path.partition(":")
    class_name, _, method = name.partition(".")
    owner = getattr(importlib.import_module(module), class_name)
    original = getattr(owner, method)
    setattr(owner, method, functools.wraps(original)(change(original)))


def _nothing(_: Method) -> Method:
    async def find_nothing(*_: Any, **__: Any) -> list[Any]:
        return []

    return find_nothing


def _dial_anew() -> None:
    """A submission without an answer is repeated as a new one, as clients with retries do."""

    def change(submit: Method) -> Method:
        async def submit_anew(self: Any, body: Mapping[str, Any], timeout: float) -> Any:
            return await submit(self, {**body, "idempotency_key": secrets.token_hex(8)}, timeout)

        return submit_anew

    _replace("outdial.adapters.retell:RetellPlatform.find_attempt", _nothing)
    _replace("outdial.adapters.retell:RetellPlatform.submit", change)


def _delete_on_receipt(name: str) -> None:
    """What a queue hands out is gone, whatever becomes of it."""

    def change(receive: Method) -> Method:
        async def receive_for_good(self: Any, *arguments: Any, **options: Any) -> Any:
            messages = await receive(self, *arguments, **options)
            if self.name == name:
                await self.delete(messages)
            return messages

        return receive_for_good

    _replace(f"{_QUEUE}.receive", change)


def _trust_the_queue() -> None:
    """The queue's message is the only trace of a call that is due."""
    _delete_on_receipt("calls")
    _replace(f"{_DATABASE}.due_calls:LedgerDueCalls.lease_due", _nothing)


def _number_deliveries() -> None:
    """An activity event gets its id when it is sent."""
    numbers = itertools.count()

    def change(deliver: Method) -> Method:
        async def deliver_numbered(self: Any, event_id: str, event: bytes) -> None:
            new_id = f"{event_id}-{secrets.token_hex(2)}-{next(numbers)}"
            await deliver(self, new_id, event.replace(event_id.encode(), new_id.encode()))

        return deliver_numbered

    _replace("outdial.adapters.sinks.http:HttpSink.deliver", change)


def _keep_before_applying() -> None:
    """A webhook is noted as processed in a commit before the one that applies it."""
    inbox = importlib.import_module(f"{_DATABASE}.inbox")

    def change(_: Method) -> Method:
        async def keep_then_take(self: Any, events: Any) -> Any:
            read = [inbox.read_event(incoming) for incoming in events]

            def keep(connection: Any) -> set[str]:
                kept: set[str] = inbox._Taking(connection, self._clock, read).insert()
                return kept

            def apply(connection: Any) -> list[Any]:
                taking = inbox._Taking(connection, self._clock, read)
                taken = [
                    taking.apply(event)
                    if event.id in fresh
                    else Taken(Disposition.REPEATED, taking.call_id(event))
                    for event in read
                ]
                taking.flush()
                return taken

            # The commit at which a process is killed is the other one.
            apart = contextvars.Context()
            fresh = await asyncio.create_task(self._database.transact(keep), context=apart)
            return await self._database.transact(apply)

        return keep_then_take

    _replace(f"{_DATABASE}.inbox:LedgerInbox.take", change)


DEFENCES: Mapping[str, Callable[[], None]] = {
    "look-ups and idempotency keys": _dial_anew,
    "hints sent again": _trust_the_queue,
    "webhooks kept until applied": functools.partial(_delete_on_receipt, "events"),
    "inbox and ledger in one commit": _keep_before_applying,
    "stable event ids": _number_deliveries,
}

"""How a handler is asked, and what is made of it when it fails by a fault of ours."""

# ruff: noqa: BLE001 - a fault of a handler costs a message another try, never the loop

from collections.abc import Sequence

import structlog

from outdial.consumer.terms import Handle, Verdict
from outdial.errors import AlreadyDone, Poison, Retryable, Unavailable
from outdial.ports.queue import Received


class Judge:
    """Gives a verdict on each message, whatever the handler does."""

    def __init__(
        self, handle: Handle, unexpected_receives: int, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        """`unexpected_receives`: after so many a message that always fails is poison."""
        self._handle = handle
        self._patience = unexpected_receives
        self._log = log

    async def __call__(self, messages: Sequence[Received]) -> Sequence[Verdict]:
        """The handler's verdicts; what it raises for many is asked for one by one."""
        try:
            verdicts = await self._handle(messages)
            if len(verdicts) != len(messages):
                raise ValueError(f"{len(verdicts)} verdicts on {len(messages)} messages")  # noqa: TRY301
        except Retryable as error:
            return [error] * len(messages)
        except Exception as error:
            if len(messages) > 1:
                self._log.warning("batch_failed", size=len(messages), cause=type(error).__name__)
                return await self._singly(messages)
            return [self._on_fault(messages[0], error)]
        return verdicts

    async def _singly(self, messages: Sequence[Received]) -> Sequence[Verdict]:
        verdicts: list[Verdict] = []
        for message in messages:
            verdicts += await self([message])
            last = verdicts[-1]
            if isinstance(last, Unavailable):
                # The others would only find the same dependency down.
                return verdicts + [last] * (len(messages) - len(verdicts))
        return verdicts

    def _on_fault(self, message: Received, error: Exception) -> Verdict:
        if isinstance(error, (Poison, AlreadyDone)):
            return error
        self._log.error(
            "unexpected", id=message.id, receive_count=message.receive_count, exc_info=error
        )
        if message.receive_count >= self._patience:
            return Poison(f"unexpected {type(error).__name__}")
        return Retryable(type(error).__name__)

"""Takes a call from the call queue, claims it, dials through Retell, records what came of it."""

from outdial.call_processor.processor import CallProcessor, DialTimes

__all__ = ["CallProcessor", "DialTimes"]

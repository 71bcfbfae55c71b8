"""Every port in memory: for tests, held to the same contract suites as the real adapters."""

from outdial.adapters.memory.parking import MemoryParking
from outdial.adapters.memory.queue import MemoryQueue

__all__ = ["MemoryParking", "MemoryQueue"]

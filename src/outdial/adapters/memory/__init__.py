"""Every port in memory: for tests, held to the same contract suites as the real adapters."""

from outdial.adapters.memory.parking import MemoryParking
from outdial.adapters.memory.platform import LostAnswer, MemoryPlatform
from outdial.adapters.memory.queue import MemoryQueue
from outdial.adapters.memory.sink import MemorySink

__all__ = ["LostAnswer", "MemoryParking", "MemoryPlatform", "MemoryQueue", "MemorySink"]

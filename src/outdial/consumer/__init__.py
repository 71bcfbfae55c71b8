"""The one loop between a queue and a stage: the class of an error decides what a message does.

    handled, or AlreadyDone   deleted
    Retry, Retryable          given back, for a time that grows with its receive count
    Unavailable               likewise, and nothing is received until the dependency answers
    Poison                    dead-lettered with its reason; a run of them halts the consumer
    anything else             our own fault: logged, tried alone, tried again, at last dead-lettered

Delivery is at least once: a handler must bear the same message again, also at the same time.
"""

from outdial.consumer.loop import Consumer
from outdial.consumer.terms import Counters, Handle, Retry, Rules, State, Verdict

__all__ = ["Consumer", "Counters", "Handle", "Retry", "Rules", "State", "Verdict"]

"""How Python itself is set for a program of many small objects."""

import gc

#: Fewer, larger collections: nearly everything a call leaves behind goes by reference count.
_GARBAGE = (10_000, 20, 20)


def prepare() -> None:
    """Before anything else is imported or started."""
    gc.set_threshold(*_GARBAGE)


def settle() -> None:
    """After start-up: what was loaded stays, so the collector need not look at it again.

    Measured before: a full collection held everything up for 170 ms, and collecting took 15% of
    the time under load.
    """
    gc.collect()
    gc.freeze()


def release() -> None:
    """Before the end: extension modules complain of what is never collected."""
    gc.unfreeze()

"""Waiting for a program that is somewhere else: look again until it is so, or too late."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two looks, and between two lines of progress.
_LOOK = 0.1
_TELL = 5.0


def wait_until(
    what: str,
    look: Callable[[], T | None],
    *,
    seconds: float = 60.0,
    progress: Callable[[], object] | None = None,
) -> T:
    """What `look` gives once it gives something true.

    Raises `AssertionError` naming `what` after `seconds`, with the latest `progress`, which is
    printed every few seconds as well.
    """
    began = told = time.monotonic()
    while True:
        found = look()
        if found:
            return found
        now = time.monotonic()
        state = progress() if progress is not None and now - told >= _TELL else None
        if state is not None:
            told = now
            print(f"  {now - began:5.1f} s  waiting until {what}: {state}", flush=True)
        if now - began > seconds:
            last = progress() if progress is not None else "no more is known"
            raise AssertionError(f"after {seconds:g} s not yet: {what}; {last}")
        time.sleep(_LOOK)

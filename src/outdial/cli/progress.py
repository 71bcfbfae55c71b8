"""Progress on stderr: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from outdial.cli.output import duration, note

#: Seconds between plain lines.
_EVERY = 5.0


class Progress(Protocol):
    """What a long task tells of itself."""

    def at(self, done: float, text: str = "") -> None:
        """`done` of the total is done; `text` is what there is to say beside the bar."""
        ...

    def notice(self, text: str) -> None:
        """A line that stays."""
        ...


class _Lines:
    """For pipes, logs and CI."""

    def __init__(self, title: str, total: float | None) -> None:
        self._title = title
        self._total = total
        self._began = self._last = time.monotonic()

    def at(self, done: float, text: str = "") -> None:
        now = time.monotonic()
        if now - self._last < _EVERY:
            return
        self._last = now
        share = f" {min(1.0, done / self._total):.0%}" if self._total else ""
        told = f", {text}" if text else ""
        note(f"{self._title}{share}{told} (after {duration(now - self._began)})")

    def notice(self, text: str) -> None:
        note(text)


@contextmanager
def shown(title: str, total: float | None = None) -> Iterator[Progress]:
    """Show progress of `total` (None: unknown) while the block runs."""
    if not sys.stderr.isatty():
        yield _Lines(title, total)
        return
    from rich.console import Console  # noqa: PLC0415 - half of the time of a short command
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars  # noqa: PLC0415

    class _Bar:
        def at(self, done: float, text: str = "") -> None:
            bars.update(task, completed=done, told=text)

        def notice(self, text: str) -> None:
            console.print(text, style="yellow", highlight=False, markup=False)

    console = Console(stderr=True)
    columns = (
        [
            BarColumn(bar_width=24, complete_style="cyan"),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        ]
        if total is not None
        else []
    )
    with Bars(
        SpinnerColumn(style="cyan"),
        TextColumn("{task.description}"),
        *columns,
        TextColumn("{task.fields[told]}", markup=False),
        console=console,
        transient=True,
    ) as bars:
        task = bars.add_task(title, total=total, told="")
        yield _Bar()

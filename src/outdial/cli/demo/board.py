"""What the demo shows while calls go on: bars on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from outdial.cli.output import duration, note

_EVERY = 2.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the calls are. `total`: contacts of the file, None while it is still being read."""

    total: int | None
    accepted: int
    dialed: int
    in_progress: int
    ended: int
    outcomes: Sequence[tuple[str, int]] = ()

    @property
    def told(self) -> str:
        """The outcomes in words."""
        return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in self.outcomes)


class Board(Protocol):
    """Shows where the calls are."""

    def show(self, standing: Standing) -> None:
        """Called a few times a second."""
        ...


class _Lines:
    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last = 0.0

    def show(self, standing: Standing) -> None:
        now = time.monotonic()
        if now - self._last < _EVERY:
            return
        self._last = now
        note(
            f"  {duration(now - self._began):>7}  accepted {standing.accepted:,}  "
            f"dialed {standing.dialed:,}  in progress {standing.in_progress:,}  "
            f"ended {standing.ended:,}"
        )


@contextmanager
def shown() -> Iterator[Board]:
    """A board on stderr while the block runs."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console  # noqa: PLC0415 - a tenth of a second
    from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415
    from rich.table import Column  # noqa: PLC0415

    class _Bars:
        def show(self, standing: Standing) -> None:
            total = standing.total or None
            dialed = f"{standing.in_progress:,} in progress" if standing.in_progress else ""
            for task, done, text in (
                (accepted, standing.accepted, ""),
                (dialing, standing.dialed, dialed),
                (ended, standing.ended, standing.told),
            ):
                bars.update(task, total=total, completed=done, count=f"{done:,}", told=text)

    with Progress(
        TextColumn("  {task.description}", table_column=Column(min_width=10)),
        BarColumn(20, "dim", "cyan", "green", table_column=Column(min_width=20)),
        TextColumn("{task.fields[count]}", table_column=Column(min_width=6, justify="right")),
        # What is said beside the bars yields to them where the terminal is narrow.
        TextColumn(
            "[dim]{task.fields[told]}",
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
        console=Console(stderr=True, highlight=False),
        transient=True,
        expand=True,
    ) as bars:
        accepted, dialing, ended = (
            bars.add_task(name, total=None, count="0", told="")
            for name in ("Accepted", "Dialed", "Ended")
        )
        yield _Bars()

"""Progress with ETA on stderr, for anything that may take more than two seconds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Report = Callable[[int, int], None]
"""Called with (done, total)."""
QUIET = "CXR_ALIGNBENCH_QUIET"
"""Environment variable of the processes of a pool, whose parent shows the bar."""


def progress() -> Progress:
    """A rich progress bar; silent without a terminal, on ranks but the first and in a pool."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    silent = not console.is_terminal or os.environ.get("RANK", "0") != "0" or QUIET in os.environ
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=silent,
    )


@contextmanager
def watched(description: str) -> Iterator[Report]:
    """A bar that appears with the first report of (done, total)."""
    with progress() as bar:
        task: TaskID | None = None

        def report(done: int, total: int) -> None:
            nonlocal task
            if task is None:
                task = bar.add_task(description, total=total)
            bar.update(task, completed=done)

        yield report

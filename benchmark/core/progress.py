"""Progress with ETA on stderr, for anything that may take more than two seconds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Report = Callable[[int, int], None]
"""Called with (done, total)."""
Tell = Callable[[str, float, float], None]
"""Called with what a bar says, how much of it is done, and how much there is."""
QUIET = "CXR_ALIGNBENCH_QUIET"
"""Environment variable of the processes of a pool, whose parent shows the bar."""
_tell: Tell | None = None


def tell_progress(tell: Tell) -> None:
    """From now on the bars of this process are not shown but told, so that the process which started it shows
    them."""
    global _tell
    _tell = tell


def progress() -> Progress:
    """A rich progress bar; silent without a terminal, on ranks but the first and in a pool."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    silent = not console.is_terminal or os.environ.get("RANK", "0") != "0" or QUIET in os.environ
    if _tell is not None:
        return _told(_tell)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=silent,
    )


def _told(tell: Tell) -> Progress:
    """A bar that is shown nowhere and tells every change."""
    from rich.progress import Progress

    class Told(Progress):
        def update(self, task_id: TaskID, *given: Any, **changes: Any) -> None:
            super().update(task_id, *given, **changes)
            task = self._tasks[task_id]
            tell(task.description, task.completed, task.total or 0)

    return Told(disable=True)


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

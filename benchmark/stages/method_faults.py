"""What a method or task of one's own raises while it trains, scores or evaluates, as a line that names it."""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections.abc import Iterator
from pathlib import Path

from benchmark.core.errors import BenchError


class MethodFault(BenchError):
    """Training or scoring ended with an error that bench did not foresee; exit code 70."""

    exit_code = 70


@contextlib.contextmanager
def naming(method: str, ranks: int, task: str | None = None) -> Iterator[None]:
    """Raises MethodFault in place of an error that bench did not foresee: its kind, its place (in the file of
    the method, where it has one there) and what tells whose fault it is. Messages may quote a report.

    ranks: of a distributed run; with several a RuntimeError may be the loss of one: `process_group` tells.
    task: that evaluates the method; what its file raises past the scoring is its own fault.
    """
    try:
        yield
    except (BenchError, OSError, MemoryError):
        raise
    except Exception as error:
        if ranks > 1 and isinstance(error, RuntimeError):
            raise
        from benchmark.core.tasks import TASKS
        from benchmark.evaluation import scoring
        from methods.base import METHODS

        frames = traceback.extract_tb(error.__traceback__)
        file = inspect.getsourcefile(METHODS.get(method))
        place = [frame for frame in frames if frame.filename == file][-1:] or frames[-1:]
        if task is not None:
            judged = inspect.getsourcefile(TASKS.get(task))
            of_scores = (file, inspect.getsourcefile(scoring))
            last = [frame for frame in frames if frame.filename in (judged, *of_scores)][-1:]
            if last and last[0].filename == judged:
                raise MethodFault(
                    f"task {task}: unexpected {type(error).__name__} at {Path(str(judged)).name}:"
                    f"{last[0].lineno} where it evaluates {method}. Run again with --debug."
                ) from error
        where = f"{Path(place[0].filename).name}:{place[0].lineno}"
        raise MethodFault(
            f"{method}: unexpected {type(error).__name__} at {where}. `bench check method {method}` says "
            "which promise it breaks; if none, run again with --debug."
        ) from error

"""Pools of worker processes that end with the process that started them, even where that one is killed."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

from benchmark.core.errors import BenchError


@contextmanager
def worker_pool(
    workers: int, begin: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """A pool of spawned processes. begin: called first in each, with `arguments`.

    Raises BenchError where a worker is killed.
    """
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, context, _begin, (begin, arguments)) as pool:
            yield pool
    except BrokenProcessPool:
        raise BenchError(
            "a worker process was killed, perhaps for lack of memory. Run again to go on from here, "
            "with fewer processes."
        ) from None


def _begin(begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    """A worker holds both ends of its queue of jobs and would wait there for ever: it watches its parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if begin is not None:
        begin(*arguments)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def end_with_writer(descriptor: int) -> None:
    """End this process as soon as the other end of a pipe is closed, as it is when its holder dies."""

    def wait_for_end() -> None:
        os.read(descriptor, 1)
        os._exit(1)

    threading.Thread(target=wait_for_end, daemon=True).start()

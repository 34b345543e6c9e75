"""The cells and seeds that a request lacks, trained and evaluated side by side on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import as_completed
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import BenchError
from benchmark.core.progress import progress, tell_progress
from benchmark.core.tasks import CLASSIFICATION
from benchmark.core.workers import worker_pool
from benchmark.data.contents import cores
from benchmark.grid.layout import Project
from benchmark.grid.params import Cell, encoders_of
from benchmark.grid.request import Request, RunPlan, plan, protocol_task
from benchmark.stages.capacity import free_memory, usable_cores
from benchmark.stages.evaluate import evaluate_task, evaluation
from benchmark.stages.features import device
from benchmark.stages.own_encoders import Sessions, trained
from benchmark.stages.run import Say, Session
from benchmark.stages.run_record import RunRecord
from benchmark.stages.tracked_results import record_results
from benchmark.stages.train import find_run

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

    import pandas as pd
    from rich.progress import TaskID

    Told = SimpleQueue[tuple[int, Any]]

MEMORY = 2 * 2**30
"""Bytes that a process is taken to need."""
FEW_STEPS = 3000
"""Steps of all trainings together below which no process is started: each takes seconds of a core to start,
and so many steps take 3 s (CLIP) to 80 s (CARZero)."""


def processes_for(jobs: int, places: int, memory: int) -> int:
    """How many processes carry out `jobs` equally long jobs soonest; of equals the fewest.

    places: jobs that the cores compute at full speed at once. memory: bytes for all processes. Up to two jobs
    share a place: three at once on two cores end after 1.5 times what one takes, two and then one after 2.
    """

    def end(count: int) -> int:
        turns, rest = divmod(jobs, count)
        return turns * max(count, places) + (max(rest, places) if rest else 0)

    return min(range(1, max(1, min(jobs, 2 * places, memory // MEMORY)) + 1), key=end)


def carry_out_beside(
    sessions: Sessions, request: Request, todo: RunPlan, processes: int | None
) -> dict[tuple[str, int], RunRecord]:
    """Train and evaluate what a request lacks in several processes: (cell, seed) → run record. {} where this
    process does it as soon.

    processes: None, as many as end soonest, on GPUs one each. What they share is prepared before they start.
    The first error of one ends the others, which go on from their saved state later, and is raised.
    """
    if processes == 1 or len(todo.jobs) == 1 or sessions.shared.processes.size > 1:
        return {}
    lacking = {number: steps for number, steps in enumerate(_steps(sessions, todo)) if steps}
    if processes is None:
        count = _worth(sessions, [todo.jobs[number][0] for number in lacking], sum(lacking.values()))
    else:
        done = [number for number in range(len(todo.jobs)) if number not in lacking]
        lacking |= {number: 0 for number in done if _unevaluated(sessions, todo, *todo.jobs[number])}
        count = min(processes, len(lacking))
    if count < 2:
        return {}
    for cell in todo.cells:
        own = sessions.of(cell)
        for dataset in todo.datasets:
            own.manifest(dataset) if own.params.encoders.train.trains else own.evaluation_data(dataset)
    say = sessions.shared.say
    say(f"{len(lacking)} cells and seeds in {count} processes side by side (--jobs 1: one after the other)")
    found = _in_processes(sessions.shared.project, request, lacking, count, say)
    return {(todo.jobs[n][0].name, todo.jobs[n][1]): run for n, run in found.items()}


def _steps(sessions: Sessions, todo: RunPlan) -> Iterator[int]:
    """Of each cell and seed the steps of its training; 0 where it is trained. Where encoders train too, that
    takes long to tell, and it counts as untrained."""
    for cell, seed in todo.jobs:
        own = sessions.of(cell)
        data, training = own.inputs(cell), cell.training
        frozen = not own.params.encoders.train.trains
        if frozen and find_run(own.project, cell, seed, data) is not None:
            yield 0
        else:
            yield (training.epochs or 1) * -(-len(data.train) // training.batch_size)


def _worth(sessions: Sessions, cells: list[Cell], steps: int) -> int:
    """The number of processes for trainings of these cells. One where few steps are left, where sums depend
    on the number of threads, or where encoders train, whose need of memory is not known."""
    import torch

    from benchmark.training.distributed import Group, local_device

    params = sessions.shared.params
    trains = any(encoders_of(params, cell).train.trains for cell in cells)
    if len(cells) < 2 or steps < FEW_STEPS or params.numerics != "portable" or trains:
        return 1
    asked = {cell.training.device for cell in cells}
    kinds = {local_device(name, Group()).type for name in asked} | {device()}
    if kinds == {"cuda"} and asked <= {"auto", "cuda"}:
        return min(len(cells), torch.cuda.device_count())
    if kinds != {"cpu"}:
        return 1
    threads = max(cell.training.threads or 1 for cell in cells)
    return processes_for(len(cells), max(1, usable_cores() // threads), free_memory())


def _unevaluated(sessions: Sessions, todo: RunPlan, cell: Cell, seed: int) -> bool:
    own = sessions.of(cell)
    run = find_run(own.project, cell, seed, own.inputs(cell))
    return run is None or any(
        evaluation(own, CLASSIFICATION, cell, seed, dataset, run).on_disk() is None
        for dataset in todo.datasets
    )


def _in_processes(
    project: Project, request: Request, lacking: Mapping[int, int], count: int, say: Say
) -> dict[int, RunRecord]:
    """lacking: place in the plan → steps."""
    context = multiprocessing.get_context("spawn")
    told: Told = context.SimpleQueue()
    numbers: SimpleQueue[int] = context.SimpleQueue()
    for number in range(count):
        numbers.put(number)
    with (
        _shown(told, lacking, say),
        worker_pool(count, _start, project.root, request, count, told, numbers) as pool,
    ):
        with _no_interrupts():
            futures = {pool.submit(_work, number): number for number in lacking}
        try:
            return {futures[future]: future.result() for future in as_completed(futures)}
        except BaseException:
            for child in multiprocessing.active_children():
                child.terminate()
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Ctrl-C waits meanwhile, and never reaches a process that is started: this one ends them all."""
    mask = getattr(signal, "pthread_sigmask", lambda *_: None)
    mask(getattr(signal, "SIG_BLOCK", 0), [signal.SIGINT])
    try:
        yield
    finally:
        mask(getattr(signal, "SIG_UNBLOCK", 0), [signal.SIGINT])


@contextmanager
def _shown(told: Told, lacking: Mapping[int, int], say: Say) -> Iterator[None]:
    """Say and show what the processes tell meanwhile: a bar of all steps, and one of each training."""
    with progress() as bar:
        whole = bar.add_task(f"{len(lacking)} cells and seeds", total=sum(lacking.values()) or None)
        rows: dict[int, TaskID] = {}
        steps = dict.fromkeys(lacking, 0.0)

        def follow() -> None:
            for number, what in iter(told.get, None):
                if isinstance(what, str):
                    with suppress(OSError):  # who read it has gone; the processes are still to be heard
                        say(what)
                elif what is None:
                    steps[number] = lacking[number]
                    if number in rows:
                        bar.remove_task(rows.pop(number))
                else:
                    description, done, total = what
                    if number not in rows:
                        rows[number] = bar.add_task(description)
                    bar.update(rows[number], description=description, completed=done, total=total)
                    if description.startswith("train ") and total:
                        steps[number] = lacking[number] * done / total
                bar.update(whole, completed=sum(steps.values()))

        thread = Thread(target=follow)
        thread.start()
        try:
            yield
        finally:
            told.put(None)  # type: ignore[arg-type]
            thread.join()


_todo: RunPlan
_sessions: Sessions
_current = 0
_queue: Told


def _start(root: Path, request: Request, count: int, told: Told, numbers: SimpleQueue[int]) -> None:
    """A process: one session for all of its jobs, an even part of the cores, and a GPU of its own. Ctrl-C is
    the parent's, which ends this process."""
    global _todo, _sessions, _queue
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    _take_card(numbers.get())
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cores() // count))
    _queue = told
    tell_progress(lambda *bar: told.put((_current, bar)))
    project = Project(root)
    _todo = plan(project, request)
    _sessions = Sessions(Session(project, _todo.params, _say, protocol=request.protocol))


def _take_card(number: int) -> None:
    """Let `cuda` be the GPU of the process of this number."""
    import torch

    if cards := torch.cuda.device_count():
        torch.cuda.set_device(number % cards)


def _end(number: int, frame: Any) -> None:
    """The parent ends this process: a training closes its record as one that failed."""
    raise SystemExit(1)


def _say(line: str) -> None:
    """What is of the cell; of what is shared the parent has told."""
    if line.startswith(_todo.jobs[_current][0].name):
        _queue.put((_current, line))


def _work(number: int) -> RunRecord:
    global _current
    _current = number
    signal.signal(signal.SIGTERM, _end)
    cell, seed = _todo.jobs[number]
    try:
        run, own = trained(_sessions, cell, seed)
        found: dict[tuple[str, str], pd.DataFrame] = {}
        for dataset in _todo.datasets:
            rows = evaluate_task(own, CLASSIFICATION, cell, seed, dataset, run)
            if rows is not None:
                found[CLASSIFICATION, dataset] = rows
            if task := protocol_task(own.params, dataset, own.protocol):
                evaluate_task(own, task, cell, seed, dataset, run)
        record_results(own, cell, seed, run, found)
        _queue.put((number, None))
    except SystemExit:
        os._exit(1)
    except BenchError as error:
        told = BenchError(str(error))  # of the one class that every process can read
        told.exit_code = error.exit_code
        raise told from None
    return run

"""A run past one process: the ranks of torchrun, or a pool on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import BenchError
from benchmark.grid.layout import Project
from benchmark.grid.request import Request, plan

if TYPE_CHECKING:
    from benchmark.training.distributed import Group

Say = Callable[[str], None]


class ShardFailed(BenchError):
    """A process of a pool ended with an error."""

    exit_code = 1


def with_ranks(work: Callable[[Group, Say], Any], say: Say) -> tuple[Any, int]:
    """Run `work` on every rank that torchrun started, or once without it; its result and an exit code.

    Only rank 0 speaks: an error that every rank meets is raised there, and gives the others their exit code.
    Raises RankLost on each rank that is left when another one dies, and BenchError where a rank is of another
    version.
    """
    from benchmark.training.distributed import RankLost, process_group

    first = os.environ.get("RANK", "0") == "0"
    try:
        with process_group() as group:
            _same_versions(group)
            return work(group, say if first else _silent), 0
    except RankLost:
        raise
    except BenchError as error:
        if first:
            raise
        return None, error.exit_code


def _same_versions(group: Group) -> None:
    if group.size > 1:
        import torch.distributed

        from benchmark.stages.versions import check_ranks, versions

        found: list[Any] = [None] * group.size
        torch.distributed.all_gather_object(found, versions())
        check_ranks(found)


def _silent(line: str) -> None:
    pass


def run_pool(project: Project, request: Request, processes: int, say: Say) -> None:
    """Train and evaluate the cells of a request in `processes` processes, each a shard of them.

    Raises ShardFailed, with what the first failed process said last, once all have ended.
    """
    count = min(processes, len(plan(project, request).jobs))
    environment = {**os.environ, "CXR_ALIGNBENCH_HOME": str(project.root)}
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))

    def shard(index: int) -> tuple[int, str]:
        process = subprocess.Popen(
            command_of(request, index, count),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        last: deque[str] = deque(maxlen=1)
        for line in process.stderr:
            last.append(line.rstrip())
            say(f"[{index + 1}/{count}] {line.rstrip()}")
        return process.wait(), "".join(last)

    with ThreadPoolExecutor(count) as pool:
        ended = list(pool.map(shard, range(count)))
    failed = [f"shard {n + 1}/{count}: {said}" for n, (code, said) in enumerate(ended) if code]
    if failed:
        raise ShardFailed(f"{len(failed)} of {count} processes failed; {failed[0]}")


def command_of(request: Request, index: int, count: int) -> list[str]:
    """The command line that carries out one shard of a request."""
    given = {
        "--method": request.method,
        "--dataset": request.dataset,
        "--data-root": _absolute(request.data_root),
        "--train": request.train,
        "--train-root": _absolute(request.train_root),
        "--protocol": request.protocol,
        "--seeds": None if request.seeds is None else ",".join(map(str, request.seeds)),
        "--profile": request.profile,
        "--recipe": request.recipe,
        "--shard": f"{index + 1}/{count}",
    }
    words = [word for option, value in given.items() if value is not None for word in (option, value)]
    words += [word for item in request.sets for word in ("--set", item)]
    return [sys.executable, "-m", "benchmark", "run", *words]


def _absolute(folder: str | None) -> str | None:
    return None if folder is None else str(Path(folder).expanduser().resolve())

"""A run past one process: the ranks of torchrun, and the command of one part of a request."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import BenchError
from benchmark.grid.request import Request

if TYPE_CHECKING:
    from benchmark.training.distributed import Group

Say = Callable[[str], None]


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


def command_of(request: Request, index: int, count: int) -> list[str]:
    """The command line that carries out one shard of a request."""
    shard = ["--shard", f"{index + 1}/{count}"]
    return [sys.executable, "-m", "benchmark", "run", *request.options(), *shard]

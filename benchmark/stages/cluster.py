"""Cells of a request as an array of jobs: on Slurm through submitit, or its executor on this machine."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.core.errors import BenchError
from benchmark.grid.layout import Project
from benchmark.grid.request import Request, plan
from benchmark.stages.processes import command_of

MINUTES = 240
"""The time limit of a job where none is given."""
MOST_TIME_LIMITS = 100
"""How often a job that reaches its time limit is queued again. Each time it goes on from a saved state;
submitit's own three would end a training of five time limits."""


@dataclass(frozen=True)
class Resources:
    """What each job of an array asks for. minutes: its time limit, after which it is queued again."""

    shards: int | None = None
    minutes: int = MINUTES
    gpus: int = 0
    cpus: int = 4
    memory_gb: int = 16
    partition: str | None = None


@dataclass(frozen=True)
class ClusterJob:
    """One job: a command, run from the project. submitit queues it again at its time limit, and Slurm when it
    is preempted; training goes on from the last saved state."""

    command: tuple[str, ...]
    home: str

    def __call__(self) -> None:
        done = subprocess.run(self.command, env={**os.environ, "CXR_ALIGNBENCH_HOME": self.home})
        if done.returncode:
            raise RuntimeError(f"exit code {done.returncode}")

    def checkpoint(self) -> Any:
        import submitit

        return submitit.helpers.DelayedSubmission(self)


@dataclass(frozen=True)
class Submission:
    """jobs: ids, empty for a dry run. commands: what each job runs. asked: resources, in the cluster's
    own words. logs: folder of their output."""

    jobs: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    asked: Mapping[str, float | str]
    logs: Path


def submit(
    project: Project, request: Request, cluster: str, resources: Resources, dry_run: bool = False
) -> Submission:
    """Submit the cells of a request as one array of jobs, and return at once.

    cluster: slurm, or local for submitit's executor on this machine. Raises BenchError where submitit is
    missing, the cluster's commands are not on this machine, or the cluster does not take the jobs.
    """
    jobs = len(plan(project, request).jobs)
    count = min(resources.shards or jobs, jobs)
    commands = tuple(tuple(command_of(request, index, count)) for index in range(count))
    logs = project.root / "runs" / "jobs"
    asked: dict[str, float | str] = {
        "name": "bench",
        "timeout_min": resources.minutes,
        "gpus_per_node": resources.gpus,
        "cpus_per_task": resources.cpus,
        "mem_gb": resources.memory_gb,
    }
    if resources.partition is not None:
        asked["slurm_partition"] = resources.partition
    if dry_run:
        return Submission((), commands, asked, logs)
    with _refusal(cluster):
        executor = _executor(logs, cluster)
        executor.update_parameters(**asked)
        with executor.batch():
            submitted = [executor.submit(ClusterJob(command, str(project.root))) for command in commands]
    return Submission(tuple(str(job.job_id) for job in submitted), commands, asked, logs)


def _executor(logs: Path, cluster: str) -> Any:
    try:
        import submitit
    except ImportError:
        raise BenchError(
            "--cluster needs the package submitit: pip install 'cxr-alignbench[cluster]', "
            "or use --jobs for a pool on this machine."
        ) from None
    return submitit.AutoExecutor(folder=logs, cluster=cluster, slurm_max_num_timeout=MOST_TIME_LIMITS)


@contextmanager
def _refusal(cluster: str) -> Iterator[None]:
    """What submitit and the commands of Slurm say becomes one line; submitit prints it too."""
    try:
        with redirect_stderr(io.StringIO()):
            yield
    except RuntimeError as error:
        said = "; ".join(line.removeprefix("sbatch: error: ") for line in str(error).splitlines()).rstrip(".")
        raise BenchError(
            f"--cluster {cluster}: {said}. Run this where sbatch and a controller answer, or use --jobs."
        ) from None


def words_of(command: Sequence[str]) -> str:
    """A command line for people: `bench run …`, with quotes where a shell needs them."""
    import shlex

    return f"bench {shlex.join(command[3:])}"

"""Cells of a request as tasks of a Ray cluster, whose nodes all see the project's folder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.core.errors import BenchError
from benchmark.grid.layout import Project
from benchmark.grid.request import Request, plan
from benchmark.stages.cluster import Resources, Submission
from benchmark.stages.processes import Say, command_of
from benchmark.stages.ray_cluster import RETRIES, asked_of, connected, none_fits, places, ray_package
from benchmark.stages.ray_features import encode_request
from benchmark.stages.ray_stream import OnRay
from benchmark.stages.versions import difference, versions

FOLLOW = (
    "import sys, runpy; from benchmark.core.workers import end_with_writer; "
    "end_with_writer(int(sys.argv.pop(1))); "
    "runpy.run_module('benchmark', run_name='__main__', alter_sys=True)"
)
"""`python -c FOLLOW DESCRIPTOR run …` is `python -m benchmark run …`, which ends with whoever started it."""


class TaskFailed(BenchError):
    """A task ended with an error."""

    exit_code = 1


@dataclass(frozen=True)
class Ended:
    """How a task ended. said: its last line. node: name of the machine."""

    code: int
    said: str
    node: str


def submission(project: Project, request: Request, resources: Resources) -> Submission:
    """What `run_ray` would ask for. Raises ParamsError for a request that does not fit."""
    jobs = len(plan(project, request).jobs)
    count = min(resources.shards or jobs, jobs)
    commands = tuple(tuple(command_of(request, index, count)) for index in range(count))
    return Submission((), commands, asked_of(resources), project.root / "runs" / "jobs")


def run_ray(project: Project, request: Request, resources: Resources, address: str | None, say: Say) -> None:
    """Encode the images of a request on the cluster at `address`, then train and evaluate its cells as tasks
    there, and wait for them.

    address: HOST:PORT; None: RAY_ADDRESS, or the cluster that this machine is a node of. A task whose node
    dies is begun again on another one and goes on from its last saved state. Raises BenchError where ray is
    missing, no cluster answers or images cannot be encoded, and TaskFailed, once all tasks have ended, with
    what the first failed one said.
    """
    asked = submission(project, request, resources)
    with connected(address) as ray:
        if not places(ray, asked_of(resources)):
            say(none_fits(resources))
        encode_request(OnRay(ray, resources, project.root), project, request, say)
        _run(ray, asked, project, say)


def _run(ray: Any, asked: Submission, project: Project, say: Say) -> None:
    task = ray.remote(_carry_out).options(**asked.asked, max_retries=RETRIES, retry_exceptions=[Killed])
    here = versions()
    waiting = {
        task.remote(command[3:], project.root, asked.logs / f"ray-{index + 1}.log", here): index
        for index, command in enumerate(asked.commands)
    }
    failed: list[str] = []
    total = len(waiting)
    say(f"ray: {total} tasks, logs: {project.relative(asked.logs)}")
    while waiting:
        (done, *_), _ = ray.wait(list(waiting))
        index = waiting.pop(done)
        ended = _result(ray, done)
        say(f"[{index + 1}/{total}] {ended.node}: {ended.said}")
        if ended.code:
            failed.append(f"task {index + 1}/{total}: {ended.said}")
    if failed:
        raise TaskFailed(f"{len(failed)} of {total} tasks failed; {failed[0]}")


class Killed(RuntimeError):
    """The process of a task was killed by a signal, as by the system for lack of memory."""


def _carry_out(words: Sequence[str], home: Path, log: Path, wanted: Mapping[str, str]) -> Ended:
    """On a node of the cluster: run one shard, with its messages in `log`. Raises Killed where a signal ended
    it."""
    node = socket.gethostname()
    if other := difference(wanted, versions()):
        return Ended(2, f"node {node} has {other}. Install the same versions on all nodes.", node)
    environment = {**os.environ, "CXR_ALIGNBENCH_HOME": str(home)}
    head = f"on {node}, Ray node {ray_package().get_runtime_context().get_node_id()}"
    code, said = run_logged(words, log, head, environment)
    if code < 0:
        raise Killed(f"signal {-code} on {node}")
    return Ended(code, said, node)


def run_logged(words: Sequence[str], log: Path, head: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """`bench WORDS` in a process that ends with this one; its exit code and last line.

    What it says is appended to `log` below `head`; where the disk takes no log, the run fails with that line.
    """
    reading, writing = os.pipe()
    last = ""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8", buffering=1) as out:
            out.write(f"{head}\n")
            with subprocess.Popen(
                [sys.executable, "-c", FOLLOW, str(reading), *words],
                env=dict(environment),
                pass_fds=[reading],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            ) as process:
                assert process.stderr is not None
                for line in process.stderr:
                    last = line.rstrip()
                    out.write(line)
            return process.returncode, last
    except OSError as error:
        return 2, f"{log}: cannot be written ({error.strerror or error}). Free the disk and run again."
    finally:
        os.close(reading)
        os.close(writing)


def _result(ray: Any, done: Any) -> Ended:
    """What a task returned, or one line for a task that Ray gave up."""
    try:
        ended: Ended = ray.get(done)
    except ray.exceptions.RayTaskError as error:
        times = f", {RETRIES + 1} times" if isinstance(error.cause, Killed) else ""
        return Ended(1, f"{' '.join(str(error.cause).split()):.300}{times}", "ray")
    except ray.exceptions.RayError as error:
        return Ended(1, f"{type(error).__name__}: {' '.join(str(error).split()):.300}", "ray")
    return ended

"""Cells of a request as tasks of a Ray cluster, whose nodes all see the project's folder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.core.errors import BenchError
from benchmark.grid.layout import Project
from benchmark.grid.request import Request, plan
from benchmark.stages.cluster import Resources, Submission
from benchmark.stages.processes import Say, ShardFailed, command_of
from benchmark.stages.versions import difference, versions

RETRIES = 5
"""How often a task is begun again after its node or process died; an error of bench is not tried again."""

FOLLOW = (
    "import sys, runpy; from benchmark.core.workers import end_with_writer; "
    "end_with_writer(int(sys.argv.pop(1))); "
    "runpy.run_module('benchmark', run_name='__main__', alter_sys=True)"
)
"""`python -c FOLLOW DESCRIPTOR run …` is `python -m benchmark run …`, which ends with whoever started it."""

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""The opening of HTTP/2 and an empty frame of settings, which a server of gRPC answers with its own
(RFC 9113, sections 3.4 and 6.5)."""
SETTINGS_FRAME = 4


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
    asked = {"num_cpus": resources.cpus, "num_gpus": resources.gpus, "memory": resources.memory_gb * 2**30}
    return Submission((), commands, asked, project.root / "runs" / "jobs")


def run_ray(project: Project, request: Request, resources: Resources, address: str | None, say: Say) -> None:
    """Train and evaluate the cells of a request as tasks of the cluster at `address`, and wait for them.

    address: HOST:PORT; None: RAY_ADDRESS, or the cluster that this machine is a node of. A task whose node
    dies is begun again on another one and goes on from its last saved state. Raises BenchError where ray is
    missing or no cluster answers, and ShardFailed, once all have ended, with what the first failed task said.
    """
    with redirect_stdout(sys.stderr):  # Ray tells of a lost node on standard output, which is the table's
        _run(_ray(), submission(project, request, resources), project, resources, address, say)


def _run(
    ray: Any, asked: Submission, project: Project, resources: Resources, address: str | None, say: Say
) -> None:
    _connect(ray, address)
    try:
        if not any(_fits(node, asked.asked) for node in ray.nodes()):
            say(
                f"ray: no node has {resources.cpus} cores, {resources.gpus} GPUs and {resources.memory_gb} "
                "GB now; waiting for one that has (--cpus, --gpus, --memory-gb)"
            )
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
    finally:
        ray.shutdown()
    if failed:
        raise ShardFailed(f"{len(failed)} of {total} tasks failed; {failed[0]}")


class Killed(RuntimeError):
    """The process of a task was killed by a signal, as by the system for lack of memory."""


def _carry_out(words: Sequence[str], home: Path, log: Path, wanted: Mapping[str, str]) -> Ended:
    """On a node of the cluster: run one shard, with its messages in `log`. Raises Killed where a signal ended
    it."""
    node = socket.gethostname()
    if other := difference(wanted, versions()):
        return Ended(2, f"node {node} has {other}. Install the same versions on all nodes.", node)
    environment = {**os.environ, "CXR_ALIGNBENCH_HOME": str(home)}
    head = f"on {node}, Ray node {_ray().get_runtime_context().get_node_id()}"
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


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise BenchError(
            "--cluster ray needs the package ray: pip install 'cxr-alignbench[cluster]', "
            "or use --jobs for a pool on this machine."
        ) from None
    return ray


def _connect(ray: Any, address: str | None) -> None:
    where = address or os.environ.get("RAY_ADDRESS") or "auto"
    if where != "auto":
        ask(where)
    try:
        ray.init(address=where, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise BenchError(
            f"--cluster ray: {said:.300}. Give --address HOST:PORT, as `ray start --head` prints it."
        ) from None


def ask(address: str, seconds: float = 5) -> None:
    """Whether the head of a Ray cluster may be at HOST:PORT: a gRPC server answers. Ray itself would try for
    minutes. Raises BenchError where nothing, or another kind of server, does."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in address:
        raise BenchError(
            f"--address {address:.80}: expected HOST:PORT of a cluster's head, as in 10.0.0.5:6379."
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), seconds) as probe:
            probe.settimeout(seconds)
            probe.sendall(HELLO)
            answer = probe.recv(9)
    except (OSError, OverflowError) as error:
        raise BenchError(
            f"--address {address}: no Ray cluster answers ({getattr(error, 'strerror', None) or error}). "
            "Check `ray status` on its head."
        ) from None
    if len(answer) < 4 or answer[3] != SETTINGS_FRAME:
        raise BenchError(
            f"--address {address}: what answers is no Ray cluster. Give the port of `ray start --head`, 6379 "
            "by default, not that of its dashboard."
        )


def _fits(node: Mapping[str, Any], asked: Mapping[str, float]) -> bool:
    has = node["Resources"]
    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    return node["Alive"] and all(has.get(names[what], 0) >= amount for what, amount in asked.items())


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

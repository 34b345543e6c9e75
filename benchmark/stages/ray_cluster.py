"""A Ray cluster: joining it, and what its nodes have."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

from benchmark.core.errors import BenchError
from benchmark.stages.cluster import Resources

RETRIES = 5
"""How often a task is begun again after its node or process died; an error of bench is not tried again."""

HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""The opening of HTTP/2 and an empty frame of settings, which a server of gRPC answers with its own
(RFC 9113, sections 3.4 and 6.5)."""
SETTINGS_FRAME = 4


def ray_package() -> Any:
    try:
        import ray
    except ImportError:
        raise BenchError(
            "--cluster ray needs the package ray: pip install 'cxr-alignbench[cluster]', "
            "or use --jobs for a pool on this machine."
        ) from None
    return ray


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The package ray, joined meanwhile to the cluster at HOST:PORT; None: RAY_ADDRESS, or the cluster that
    this machine is a node of. Raises BenchError where ray is missing or no cluster answers.

    Ray tells of a lost node on standard output, which is the table's: meanwhile that is standard error.
    """
    ray = ray_package()
    with redirect_stdout(sys.stderr):
        _connect(ray, address)
        try:
            yield ray
        finally:
            ray.shutdown()


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


def asked_of(resources: Resources) -> dict[str, float]:
    """What one task or actor takes, in the words of Ray."""
    return {"num_cpus": resources.cpus, "num_gpus": resources.gpus, "memory": resources.memory_gb * 2**30}


def places(ray: Any, asked: Mapping[str, float]) -> int:
    """How many tasks of this size the nodes that are up hold at once."""
    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    total = 0
    for node in ray.nodes():
        has = node["Resources"]
        if node["Alive"]:
            total += min(int(has.get(names[what], 0) // amount) for what, amount in asked.items() if amount)
    return total


def none_fits(resources: Resources) -> str:
    """What is said while no node is large enough."""
    return (
        f"ray: no node has {resources.cpus} cores, {resources.gpus} GPUs and {resources.memory_gb} "
        "GB now; waiting for one that has (--cpus, --gpus, --memory-gb)"
    )

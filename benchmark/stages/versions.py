"""Whether the processes of one run, on several machines, are of one version."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from benchmark import __version__
from benchmark.core.errors import BenchError
from benchmark.stages.code import code_digest

COMPUTE = ("torch", "numpy")


def versions() -> dict[str, str]:
    """What computes here → its version; of this package also a hash of its code, as a checkout may differ."""
    found = {
        "cxr-alignbench": f"{__version__} (code {code_digest()[:8]})",
        "Python": platform.python_version(),
    }
    return {**found, **{name: version(name) for name in COMPUTE}}


def difference(wanted: Mapping[str, str], found: Mapping[str, str]) -> str | None:
    """The first entry of another version: `torch 2.6, not 2.7`; None where all are equal."""
    other = [name for name in wanted if found.get(name) != wanted[name]]
    return f"{other[0]} {found.get(other[0])}, not {wanted[other[0]]}" if other else None


def check_ranks(found: Sequence[Mapping[str, str]]) -> None:
    """Raises BenchError, naming the first rank whose `versions` are not those of rank 0."""
    for rank, own in enumerate(found):
        if other := difference(found[0], own):
            raise BenchError(f"rank {rank} has {other} as rank 0. Install the same versions on all machines.")

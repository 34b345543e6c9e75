"""What each cell's training took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmark.reporting import columns as common
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.table import Table, TableColumn, count, words
from benchmark.reporting.tables import Material

PLACE = 70


def tables(material: Material) -> Iterable[Table | None]:
    return [cost(material.evidence)]


def cost(evidence: Evidence) -> Table | None:
    """One row a cell: means over its seeds."""
    if evidence.runs.empty:
        return None
    rows: list[dict[str, Any]] = []
    for name, part in evidence.runs.groupby("cell", sort=False):
        if str(name) not in evidence.cells:
            continue
        cell, seconds = evidence.cell(str(name)), part["seconds"].astype(float)
        rows.append(
            {
                "cell": str(name),
                "method": cell.title,
                "variant": cell.row or cell.variant,
                "seeds": len(part),
                "parameters": int(part["parameters_trained"].iloc[0]),
                "seconds": (float(seconds.mean()), float(seconds.min()), float(seconds.max())),
                "memory": float(part["peak_memory_bytes"].mean()),
                "images_per_second": float(part["images_per_second"].mean()),
                "images_seen": int(part["images_seen"].mean()),
                "device": ", ".join(sorted(set(part["device"].astype(str)))),
            }
        )
    return Table(
        name="cost",
        title="Cost of training: parameters, time, memory, throughput",
        columns=(
            words("cell"),
            common.METHOD,
            words("variant", "Variant"),
            count("seeds", "Seeds"),
            count("parameters", "Parameters trained"),
            TableColumn("seconds", "Seconds (range)", _range, ("seconds", "seconds_min", "seconds_max")),
            TableColumn("memory", "Peak memory, GiB", lambda b: f"{b / 2**30:.2f}", ("peak_memory_bytes",)),
            TableColumn("images_per_second", "Images/s", lambda n: f"{n:.0f}", ("images_per_second",)),
            count("images_seen", "Images seen"),
            words("device", "Device"),
        ),
        rows=tuple(rows),
        notes=(
            "Encoders are frozen and their features cached, so times are of the alignment alone. On a CPU a "
            "cell has one thread, and as many cells are trained at once as there are cores. "
            "Peak memory is of the whole process. Times depend on what else the machine did.",
        ),
        synthetic=evidence.synthetic(),
    )


def _range(seconds: tuple[float, float, float]) -> str:
    return "{:.0f} ({:.0f}–{:.0f})".format(*seconds)

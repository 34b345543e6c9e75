"""What each cell's training took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmark.reporting import columns as common
from benchmark.reporting.evidence import Evidence
from benchmark.reporting.table import Row, Table, TableColumn, count, real, words
from benchmark.reporting.tables import Material

PLACE = 70
FACTS = (
    "Sentences seen: of images in training, repeats included. MFLOP an image: matrix products of a step, "
    "forward and backward. Converged: the last quarter of every run gained less than 0.005 in AUROC of "
    "held-out sentences; beside it the largest gain."
)


def tables(material: Material) -> Iterable[Table | None]:
    return [cost(material.evidence)]


def cost(evidence: Evidence) -> Table | None:
    """One row a cell: means over its seeds."""
    if evidence.runs.empty:
        return None
    rows: list[Row] = []
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
                "seconds": (float(seconds.mean()), float(seconds.min()), float(seconds.max())),
                "memory": float(part["peak_memory_bytes"].mean()),
                "images_per_second": float(part["images_per_second"].mean()),
                "images_seen": int(part["images_seen"].mean()),
                **training_facts(evidence, str(name)),
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
            TableColumn("seconds", "Seconds (range)", _range, ("seconds", "seconds_min", "seconds_max")),
            TableColumn("memory", "Peak memory, GiB", lambda b: f"{b / 2**30:.2f}", ("peak_memory_bytes",)),
            TableColumn("images_per_second", "Images/s", lambda n: f"{n:.0f}", ("images_per_second",)),
            count("images_seen", "Images seen"),
            *TRAINING,
            words("device", "Device"),
        ),
        rows=tuple(rows),
        notes=(
            "Encoders are frozen and their features cached, so times are of the alignment alone. On a CPU a "
            "cell has one thread, and as many cells are trained at once as there are cores. "
            "Peak memory is of the whole process. Times depend on what else the machine did.",
            FACTS,
        ),
        synthetic=evidence.synthetic(),
    )


def training_facts(evidence: Evidence, name: str) -> Row:
    """Parameters, sentences seen, arithmetic and convergence of a cell's runs; None where not recorded."""
    runs = evidence.runs
    part = runs[runs["cell"] == name] if len(runs) else runs
    known = {k: part[k].dropna().to_numpy(float) if k in part else np.empty(0) for k in _RECORDED}
    parameters, sentences, flops, gains, flat = known.values()
    return {
        "parameters": int(parameters[0]) if len(parameters) else None,
        "sentences_seen": int(sentences.mean()) if len(sentences) else None,
        "mflop": float(flops.mean()) / 1e6 if len(flops) else None,
        "convergence": (
            bool(flat.all()) if len(flat) else None,
            float(gains.max()) if len(gains) else None,
        ),
    }


_RECORDED = ("parameters_trained", "sentences_seen", "flops_per_image", "gain_last_quarter", "converged")


def _converged(value: Any) -> str:
    if value is None:
        return "–"
    flat, gain = value
    return "–" if flat is None else f"{'yes' if flat else 'not converged'} ({gain:+.3f})"


TRAINING = (
    count("parameters", "Parameters trained"),
    count("sentences_seen", "Sentences seen"),
    real("mflop", "MFLOP an image", 2),
    TableColumn("convergence", "Converged", _converged, ("converged", "gain_last_quarter")),
)
"""Columns of `training_facts`."""


def _range(seconds: tuple[float, float, float]) -> str:
    return "{:.0f} ({:.0f}–{:.0f})".format(*seconds)

"""What storing patch tokens in half precision does to AUROC: the same training and scoring from both.

    python perf/precision.py [--images 600] [--seeds 2] [--methods radzero carzero] [--device cpu|cuda]

Twins of MIMIC-CXR (training) and ChestX-ray14 (evaluation) are made in a temporary project and encoded twice,
with tokens stored in single and in half precision (`encoders.precision`; pooled vectors are float32 in both).
With the settings of params.yaml, each method is trained on single precision and scored from both, which shows
the rounding alone, and trained on half precision too, where early differences grow as those of another seed
do; the difference that a seed makes stands below. Features are computed alike; only what is stored differs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from perf.options import described

if TYPE_CHECKING:
    import pandas as pd

PRECISIONS = ("float32", "float16")
TRAIN, TEST = "mimic_cxr", "chestxray14"


def main() -> None:
    parser = described(__doc__)
    parser.add_argument("--images", type=int, default=600, help="of the training twin; the other has as many")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--methods", nargs="*", default=["radzero", "carzero"])
    parser.add_argument("--device", default=None, help="cpu hides the GPU; default: what is there")
    chosen = parser.parse_args()
    if chosen.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    from benchmark.stages.features import device
    from benchmark.training.provenance import device_name

    if chosen.device not in (None, device()):
        raise SystemExit(f"--device {chosen.device}: this machine has {device()}")
    if device() == "cpu":
        torch.set_num_threads(1)
    print(f"{device_name(torch.device(device()))}: {chosen.images} images a twin at {chosen.size} px, "
          f"macro AUROC on {TEST}")  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{place}/mlflow.db"
        shutil.copy(Path(__file__).resolve().parents[1] / "params.yaml", place)
        for method in chosen.methods:
            report(method, *compare(Path(place), method, chosen))


Rows = tuple[np.ndarray, np.ndarray]
"""(seeds,) macro AUROC and (seeds, classes) AUROC of the classes with ten positives or more."""


def compare(place: Path, method: str, chosen: argparse.Namespace) -> tuple[Rows, Rows, Rows]:
    """Trained and scored on single; trained on single and scored from half; trained and scored on half."""
    from benchmark.grid.layout import Project
    from benchmark.grid.params import main_cell
    from benchmark.grid.params_file import load_params
    from benchmark.stages.evaluate import evaluate_task
    from benchmark.stages.run import Session, train_one

    project, sessions, cells = Project(place), [], []
    for precision in PRECISIONS:
        sets = (
            f"encoders.precision={precision}",
            f"twins.size={chosen.size}",
            f"twins.images={{{TRAIN}: {chosen.images}, {TEST}: {chosen.images}}}",
            "prompt_ablation.methods=[]",
        )
        params = load_params(place / "params.yaml", None, sets)
        sessions.append(Session(project, params, lambda line: None))
        cells.append(main_cell(params, method).model_copy(update={"name": f"{method}-{precision}"}))
    found: list[list[tuple[float, np.ndarray]]] = [[], [], []]
    for seed in range(chosen.seeds):
        single = train_one(sessions[0], cells[0], seed)
        found[0].append(aurocs(evaluate_task(sessions[0], "classification", cells[0], seed, TEST, single)))
        found[1].append(aurocs(evaluate_task(sessions[1], "classification", cells[0], seed, TEST, single)))
        half = train_one(sessions[1], cells[1], seed)
        found[2].append(aurocs(evaluate_task(sessions[1], "classification", cells[1], seed, TEST, half)))
    first, second, third = (
        (np.array([macro for macro, _ in rows]), np.array([own for _, own in rows])) for rows in found
    )
    return first, second, third


def aurocs(metrics: pd.DataFrame | None) -> tuple[float, np.ndarray]:
    assert metrics is not None, "radiographs are classified"
    own = metrics[(metrics["metric"] == "auroc") & (metrics["stratum"] == "all")]
    macro = float(own[own["class"] == "macro"]["value"].iloc[0])
    classes = own[~own["class"].isin(["macro", "micro", "weighted"]) & (own["n_pos"] >= 10)]
    return macro, classes["value"].to_numpy(float)


def report(method: str, single: Rows, scored: Rows, half: Rows) -> None:
    print(f"{method}: trained and scored on float32: macro AUROC {spell(single[0])}")
    for title, other in (("scored from float16", scored), ("trained on float16 too", half)):
        most = float(np.nanmax(np.abs(other[1] - single[1])))
        print(f"  {title:<23} {spell(other[0] - single[0], '+.5f')}; at most {most:.5f} for a class")
    if len(single[0]) > 1:
        print(f"  between the seeds       {np.ptp(single[0]):.5f}")


def spell(numbers: np.ndarray, form: str = ".5f") -> str:
    return " / ".join(format(number, form) for number in numbers)


if __name__ == "__main__":
    main()

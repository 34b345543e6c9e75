"""What a finished run leaves in its folder: the weights, a record, the history, and the mark of their key."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmark.core.errors import BenchError
from benchmark.core.files import atomic_path, read_json, write_json
from benchmark.core.hashing import hash_file
from benchmark.core.reuse import Key, is_made, record
from benchmark.training.convergence import FLAT, gain_last_quarter
from benchmark.training.state import put_back
from methods.base import Method, build

MODEL, RUN, HISTORY, MARK = "model.safetensors", "run.json", "history.csv", "made.json"


@dataclass(frozen=True)
class TrainingResult:
    """folder: of model.safetensors, run.json and history.csv. best_epoch and val_loss: of the saved
    weights. reused: a finished run of the same key was found, as it was left. why: what differed from the
    run that was there, () where there was none."""

    folder: Path
    best_epoch: int
    val_loss: float
    seconds: float
    reused: bool
    run: dict[str, Any]
    why: tuple[str, ...] = ()

    @classmethod
    def of(cls, folder: Path, run: dict[str, Any], reused: bool, why: tuple[str, ...] = ()) -> TrainingResult:
        """From the record of a run."""
        return cls(folder, run["best_epoch"], run["val_loss"], run["seconds"], reused, run, why)


def load_method(folder: Path | str) -> Method:
    """The trained method of a finished run, in eval mode. Raises BenchError where the run is unfinished or
    its weights are not those that it recorded."""
    folder = Path(folder)
    if not (folder / RUN).is_file() or not (folder / MODEL).is_file():
        raise BenchError(f"{folder}: holds no finished run. Run the same training command to finish it.")
    run = read_json(folder / RUN)
    if hash_file(folder / MODEL) != run["model_sha256"]:
        raise BenchError(
            f"{folder / MODEL}: not the weights that {RUN} records; they were altered after training. "
            "`bench run` trains them again."
        )
    method = build(run["method"], run["options"], run["image_dim"], run["text_dim"])
    put_back(load_file(folder / MODEL), method, {})
    return method.eval()


def finished_run(folder: Path, key: Key) -> dict[str, Any] | None:
    """The record of the finished run of this key; None where there is none, or its files are not as it left
    them."""
    return read_json(folder / RUN) if is_made(folder / MARK, key, _files(folder)) else None


def remove_run(folder: Path) -> None:
    for path in (folder / MARK, *_files(folder)):
        path.unlink(missing_ok=True)


def write_run(
    folder: Path, key: Key, weights: dict[str, Tensor], history: list[dict[str, float]], run: dict[str, Any]
) -> dict[str, Any]:
    """Write the files of a run and its mark; returns the record with what they add to it.

    history: one row a look, of the same columns.
    """
    with atomic_path(folder / MODEL) as path:
        save_file(weights, path)
    with atomic_path(folder / HISTORY) as path, open(path, "w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    run = {**run, **_progress(history), "model_sha256": hash_file(folder / MODEL)}
    write_json(folder / RUN, run)
    record(folder / MARK, key, _files(folder))
    return run


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in (MODEL, RUN, HISTORY)]


def _progress(history: list[dict[str, float]]) -> dict[str, Any]:
    """What the record says of the curve: the AUROC of the best look, and whether training had converged."""
    curve = [row["val_auroc"] for row in history if "val_auroc" in row]
    steps = [int(row["step"]) for row in history]
    if not curve:
        return {"selected_by": "loss", "val_auroc": None, "gain_last_quarter": None, "converged": None}
    gain = gain_last_quarter(steps, curve)
    flat = None if gain is None else gain < FLAT
    return {
        "selected_by": "auroc", "val_auroc": max(curve), "gain_last_quarter": gain, "converged": flat,
    }  # fmt: skip

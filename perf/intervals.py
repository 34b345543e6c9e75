"""Clustered bootstrap and analytic interval against a loop over scikit-learn, same work, one run.

    python perf/intervals.py [--images 39053] [--classes 192] [--draws 2000] [--json]

The loop is timed on a slice of draws and classes and scaled to the whole; the first draws of both sides are
compared, so that the ratio is between equal results.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmark.evaluation.statistics.bootstrap import bootstrap, draw_counts
from benchmark.evaluation.statistics.panel import build_panels
from perf.options import described, machine


def table(images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Scores, labels, patient codes and P: a long tail like PadChest's (median about 100 positives)."""
    rng = np.random.default_rng(seed)
    counts = np.clip(np.exp(rng.normal(np.log(96), 1.7, classes)), 1, images // 8).astype(int)
    labels = np.zeros((images, classes), dtype=np.int8)
    for j, count in enumerate(counts):
        labels[rng.choice(images, count, replace=False), j] = 1
    scores = (rng.standard_normal((images, classes)) + labels).astype(np.float32)
    clusters = int(images / 1.5)
    return scores, labels, np.sort(rng.integers(0, clusters, images)), clusters


def timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """Value, wall seconds and processor seconds (all threads): the latter hold on a busy machine too."""
    start, busy = time.perf_counter(), time.process_time()
    value = function()
    return value, time.perf_counter() - start, time.process_time() - busy


def loop(
    scores: np.ndarray, labels: np.ndarray, codes: np.ndarray, counts: np.ndarray, columns: range
) -> np.ndarray:
    """(draws, classes) by scikit-learn on the images of the drawn patients."""
    found = np.full((counts.shape[1], len(columns)), np.nan)
    for b in range(counts.shape[1]):
        rows = np.repeat(np.arange(len(codes)), counts[codes, b].astype(int))
        for c, j in enumerate(columns):
            y = labels[rows, j]
            if 0 < y.sum() < len(y):
                found[b, c] = roc_auc_score(y, scores[rows, j])
    return found


def main() -> None:
    parser = described(__doc__)
    parser.add_argument("--images", type=int, default=39053)
    parser.add_argument("--classes", type=int, default=192)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--slice-draws", type=int, default=2)
    parser.add_argument("--slice-classes", type=int, default=48)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    scores, labels, codes, clusters = table(options.images, options.classes)
    names = [str(j) for j in range(options.classes)]
    columns = range(0, options.classes, max(1, options.classes // options.slice_classes))

    counts = next(draw_counts(clusters, options.draws, 0))[:, : options.slice_draws]
    plain, slice_seconds, slice_busy = timed(lambda: loop(scores, labels, codes, counts, columns))
    scale = options.draws * options.classes / plain.size
    reference = slice_seconds * scale
    draws, resampled, resampled_busy = timed(
        lambda: bootstrap(scores, labels, codes, clusters, draws=options.draws, seed=0, metrics=("auroc",))
    )
    ours = draws.values[0][: options.slice_draws][:, list(columns)]
    if not np.allclose(ours, plain, atol=1e-9, equal_nan=True):
        raise SystemExit("the two sides disagree; the timing says nothing")
    panels, analytic, analytic_busy = timed(
        lambda: build_panels(scores, labels, codes, clusters, names, {}, metrics=("auroc",), micro=False)
    )
    spread = np.nanmean(draws.values[0], axis=1).std() / np.sqrt(panels["auroc"].variance(options.classes))
    result = {
        "images": options.images,
        "classes": options.classes,
        "draws": options.draws,
        "scikit_learn_slice_s": slice_seconds,
        "scikit_learn_scaled_s": reference,
        "bootstrap_s": resampled,
        "bootstrap_ratio": reference / resampled,
        "bootstrap_processor_s": resampled_busy,
        "bootstrap_processor_ratio": slice_busy * scale / resampled_busy,
        "analytic_s": analytic,
        "analytic_processor_s": analytic_busy,
        "macro_spread_bootstrap_over_analytic": float(spread),
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "machine": machine(),
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"{options.draws:,} clustered draws of {options.images:,} images × {options.classes} classes")
    print(f"  scikit-learn loop  {reference:10,.0f} s  ({slice_seconds:.1f} s on {plain.size} cells, scaled)")
    print(
        f"  this suite         {resampled:10.1f} s  ratio {reference / resampled:,.0f}; processor "
        f"{resampled_busy:.1f} s, ratio {result['bootstrap_processor_ratio']:,.0f}; same values"
    )
    print(
        f"  analytic interval  {analytic:10.1f} s  every class and the macro mean; processor "
        f"{analytic_busy:.1f} s"
    )
    print(f"  macro spread, bootstrap / analytic {spread:.3f}; peak memory {result['peak_memory_gb']:.2f} GB")
    print(f"  {machine()}")


if __name__ == "__main__":
    main()

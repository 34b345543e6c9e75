"""Results of the tasks → metric rows, with the intervals of the other metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmark.evaluation.evaluate import metric_row
from benchmark.evaluation.grounding import Pointing
from benchmark.evaluation.pixelwise import Segmented
from benchmark.evaluation.retrieval import image_ranks, modality_gap, text_ranks
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.intervals import Interval, logit_interval, spread_df
from benchmark.evaluation.statistics.panel import Column
from benchmark.evaluation.statistics.trials import Trials, smooth_interval, trial_panel

Rows = list[dict[str, Any]]
RECALL_AT = (1, 5, 10)
TUNED = "threshold chosen on the same images, as published"


def pointing_rows(
    result: Pointing,
    names: Sequence[str],
    images: np.ndarray,
    classes: Sequence[str],
    patients: np.ndarray,
    level: float,
) -> Rows:
    """`pointing_game` by the official rule, and the mean of `pointing_game_ties_shared`.

    names: class of each trial. classes: in order, for a mean over classes; empty for the mean over all
    trials (phrases).
    """
    codes, clusters, _ = patient_codes(patients, len(patients))
    owner = codes[images]
    groups = [np.array([n == c for n in names], dtype=bool) for c in classes] or [np.ones(len(names), bool)]
    titles = list(classes) or ["all phrases"]
    chance = f"a random point hits {np.mean([result.chance[g].mean() for g in groups if g.any()]):.3f}"
    ties = f"{int(result.tied.sum())} of {len(names)} maps have tied maxima"
    own = [Trials(title, result.hit[g], owner[g]) for title, g in zip(titles, groups, strict=True)]
    fair = [Trials(title, result.shared[g], owner[g]) for title, g in zip(titles, groups, strict=True)]
    rows = _rows("pointing_game", own, clusters, level, chance)
    return rows + _rows("pointing_game_ties_shared", fair, clusters, level, ties)[-1:]


def segmentation_rows(results: Mapping[str, Segmented], patients: np.ndarray, level: float) -> Rows:
    """`dice`, `empty_specificity` and `pixel_auroc` by the official rules; `dice_any_scale` and
    `dice_held_out` from the search over shares of pixels."""
    codes, clusters, _ = patient_codes(patients, len(patients))
    held = "threshold from the other half of the patients"
    rows: Rows = []
    for metric, name, rows_of, note in (
        ("dice", "dice", "positive", TUNED),
        ("dice_any_scale", "any_scale", "positive", "share of pixels chosen on the same images"),
        ("dice_held_out", "held_out", "positive", held),
        ("empty_specificity", "empty", "negative", TUNED),
    ):
        own = [
            Trials(cls, np.asarray(getattr(r, name), dtype=float), codes[getattr(r, rows_of)])
            for cls, r in results.items()
        ]
        rows += _rows(metric, own, clusters, level, note)
    names = list(results)
    values = np.array([results[c].pixel_auroc for c in names])
    influence = np.stack([results[c].auroc_influence for c in names])
    for name, value, own_influence, used in [
        *(zip(names, values, influence, [[c] for c in names], strict=True) if len(names) > 1 else ()),
        ("macro", values.mean(), influence.mean(axis=0), names),
    ]:
        positive = sum(len(results[c].positive) for c in used)
        negative = sum(len(results[c].negative) for c in used)
        variance = float(own_influence @ own_influence)
        low, high = logit_interval(float(value), variance, spread_df(own_influence), level)
        column = Column(name, "all", positive, negative, 0, clusters, clusters)
        rows.append(metric_row(column, "pixel_auroc", Interval(float(value), low, high)))
    return rows


def recall_rows(scores: np.ndarray, own: np.ndarray, patients: np.ndarray, level: float) -> Rows:
    """`recall_at_K_image_to_text` and back, intervals over the patients of the queries.

    scores: (I, T). own: (I,) text of each image. A text of several images counts for its first patient.
    """
    codes, clusters, _ = patient_codes(patients, len(patients))
    _, first = np.unique(own, return_index=True)
    rows: Rows = []
    for direction, ranks, owner, pool in (
        ("image_to_text", image_ranks(scores, own), codes, scores.shape[1]),
        ("text_to_image", text_ranks(scores, own), codes[first], scores.shape[0]),
    ):
        for k in RECALL_AT:
            hits = (ranks <= k).astype(float)
            note = f"among {pool} candidates, of which chance finds {k / pool:.3f}"
            rows += _rows(f"recall_at_{k}_{direction}", [Trials("all", hits, owner)], clusters, level, note)
    return rows


def gap_rows(name: str, image: np.ndarray, text: np.ndarray, patients: np.ndarray, level: float) -> Rows:
    """`modality_gap`, `paired_cosine`, `unpaired_cosine` of N pairs; other spaces than `direct` are named."""
    codes, clusters, _ = patient_codes(patients, len(patients))
    column = Column("macro", "all", len(image), 0, 0, clusters, clusters)
    end = "" if name == "direct" else f"_{name}"
    return [
        metric_row(column, metric + end, smooth_interval(q.value, q.influence, level))
        for metric, q in modality_gap(image, text, codes, clusters).items()
    ]


def _rows(metric: str, groups: Sequence[Trials], clusters: int, level: float, note: str) -> Rows:
    panel = trial_panel(metric, groups, clusters, note)
    return [metric_row(c, metric, panel.interval(k, level)) for k, c in enumerate(panel.columns)]

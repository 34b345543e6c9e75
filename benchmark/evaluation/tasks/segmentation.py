"""Zero-shot segmentation: Dice and pixel AUROC of maps against masks (deepnoid-ai/RadZero, SIIM and RSNA)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.errors import MetricUndefined
from benchmark.core.tasks import TASKS, Task, TaskContext, TaskResult
from benchmark.evaluation.evaluate import finish
from benchmark.evaluation.maps import similarity_maps
from benchmark.evaluation.prompt_scores import prompt_label
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.intervals import Interval, join, logit_interval, spread_df
from benchmark.evaluation.statistics.metric_values import metric_value
from benchmark.evaluation.statistics.panel import Column
from benchmark.evaluation.statistics.trials import Trials
from benchmark.evaluation.trial_rows import Rows, trial_rows

if TYPE_CHECKING:
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.evaluation.pixelwise import Segmented
    from benchmark.prompts.class_prompts import PromptSet
    from methods.base import Method

TUNED = "threshold chosen on the same images, as published"


@TASKS.register("segmentation")
class Segmentation(Task):
    name = "segmentation"
    title = "Segmentation: Dice and pixel AUROC"
    headlines = ("dice", "pixel_auroc")
    shown = ("dice", "dice_held_out", "pixel_auroc")
    needs = frozenset({"labels", "maps", "boxes", "masks"})
    lacking = "no maps of two dimensions"
    order = 2

    def evaluate(
        self, method: Method, data: EvaluationData, prompts: PromptSet, given: TaskContext
    ) -> TaskResult | None:
        from benchmark.evaluation.pixelwise import MaskedMaps, halves, segment

        if given.helper:
            return None
        patients = data.chosen.patients
        half = halves(patients)
        codes, clusters, grouped = patient_codes(patients, len(data))
        results = {}
        for k, cls in enumerate(data.chosen.classes):
            own = told(data, cls)
            if not len(own):
                raise MetricUndefined(f"segmentation: no image says where {cls} is.")
            maps = similarity_maps(method, data, prompts, [(i, k) for i in own.tolist()], given.device)
            if maps is None:
                return None
            sizes = [data.sizes[i] for i in own]
            masked = MaskedMaps(maps, masks_of(data, cls, own), sizes, data.steps, method.MAP_IS_ATTENTION)
            results[cls] = segment(masked, codes=codes[own], half=half[own]).among(own, clusters)
        rows = segmentation_rows(results, patients, given.statistics.level)
        return TaskResult(finish(rows, grouped), prompt_label(prompts))


def told(data: EvaluationData, cls: str) -> np.ndarray:
    """(n,) rows of the evaluation set of which it is known where the class is: with a mask or box of it, or
    labelled as without it. An ignored label, or a finding that nothing marks, says nothing of any pixel."""
    label = data.chosen.labels[:, list(data.chosen.classes).index(cls)]
    marked: list[str] = []
    if data.regions is not None:
        marked = data.regions.loc[data.regions["class"] == cls, "image_id"].tolist()
    return np.flatnonzero((label == 0) | data.chosen.frame["image_id"].isin(marked).to_numpy())


def masks_of(data: EvaluationData, cls: str, rows: np.ndarray) -> Callable[[int], np.ndarray | None]:
    """i → the union of the class's masks and filled boxes in the image of rows[i], None where it has none."""
    from benchmark.data.masks import decode_mask
    from benchmark.evaluation.segmentation import boxes_to_mask

    of_image = {}
    if data.regions is not None:
        regions = data.regions[data.regions["class"] == cls]
        of_image = {str(name): part for name, part in regions.groupby("image_id", sort=False)}
    names = data.chosen.frame["image_id"].iloc[rows].tolist()
    sizes = [data.sizes[i] for i in rows]

    def mask(i: int) -> np.ndarray | None:
        part = of_image.get(names[i])
        if part is None:
            return None
        boxes = part.loc[part["kind"] == "box", ["x", "y", "w", "h"]].to_numpy(dtype=float)
        whole = boxes_to_mask(boxes.tolist(), *sizes[i]).astype(bool)
        for text in part.loc[part["kind"] == "mask", "rle"]:
            whole |= decode_mask(text)
        return whole

    return mask


def segmentation_rows(results: Mapping[str, Segmented], patients: np.ndarray, level: float) -> Rows:
    """`dice`, `empty_specificity` and `pixel_auroc` by the official rules; `dice_any_scale` and
    `dice_held_out` from the search over shares of pixels."""
    codes, clusters, _ = patient_codes(patients, len(patients))
    held = "threshold from the other half of the patients"
    silent = sum(len(patients) - len(r.positive) - len(r.negative) for r in results.values())
    left_out = f"{silent} images that do not say where the class is are left out" if silent else ""
    rows: Rows = []
    for metric, name, rows_of, note in (
        ("dice", "dice", "positive", TUNED),
        ("dice_any_scale", "any_scale", "positive", "share of pixels chosen on the same images"),
        ("dice_held_out", "held_out", "positive", held),
        ("empty_specificity", "empty", "negative", TUNED),
    ):
        of_class = []
        for cls, r in results.items():
            own = np.asarray(getattr(r, name), dtype=float)
            there = ~np.isnan(own)  # a class whose masks are all of one half has no held-out threshold
            of_class.append(Trials(cls, own[there], codes[getattr(r, rows_of)][there]))
        rows += trial_rows(metric, of_class, clusters, level, join(note, left_out))
    names = list(results)
    values = np.array([results[c].pixel_auroc for c in names])
    influence = np.stack([results[c].auroc_influence for c in names])
    for name, value, on_value, used in [
        *(zip(names, values, influence, [[c] for c in names], strict=True) if len(names) > 1 else ()),
        ("macro", values.mean(), influence.mean(axis=0), names),
    ]:
        positive = sum(len(results[c].positive) for c in used)
        negative = sum(len(results[c].negative) for c in used)
        variance = float(on_value @ on_value)
        low, high = logit_interval(float(value), variance, spread_df(on_value), level)
        column = Column(name, "all", positive, negative, 0, clusters, clusters)
        said = left_out if name == "macro" else ""
        rows.append(metric_value(column, "pixel_auroc", Interval(float(value), low, high, said)))
    return rows

"""Zero-shot segmentation: Dice and pixel AUROC of maps against masks (deepnoid-ai/RadZero, SIIM and RSNA)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.tasks import TASKS, Task, TaskContext, TaskResult
from benchmark.evaluation.evaluate import finish
from benchmark.evaluation.maps import similarity_maps
from benchmark.evaluation.prompt_scores import prompt_label
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.intervals import Interval, logit_interval, spread_df
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
        codes, _, grouped = patient_codes(patients, len(data))
        results = {}
        for k, cls in enumerate(data.chosen.classes):
            wanted = [(i, k) for i in range(len(data))]
            maps = similarity_maps(method, data, prompts, wanted, given.device)
            if maps is None:
                return None
            masked = MaskedMaps(maps, masks_of(data, cls), data.sizes, data.steps, method.MAP_IS_ATTENTION)
            results[cls] = segment(masked, codes=codes, half=half)
        rows = segmentation_rows(results, patients, given.statistics.level)
        return TaskResult(finish(rows, grouped), prompt_label(prompts))


def masks_of(data: EvaluationData, cls: str) -> Callable[[int], np.ndarray | None]:
    """Image → the union of the class's masks and filled boxes, None where it has none."""
    from benchmark.data.masks import decode_mask
    from benchmark.evaluation.segmentation import boxes_to_mask

    of_image = {}
    if data.regions is not None:
        regions = data.regions[data.regions["class"] == cls]
        of_image = {str(name): part for name, part in regions.groupby("image_id", sort=False)}
    names = data.chosen.frame["image_id"].tolist()

    def mask(i: int) -> np.ndarray | None:
        part = of_image.get(names[i])
        if part is None:
            return None
        boxes = part.loc[part["kind"] == "box", ["x", "y", "w", "h"]].to_numpy(dtype=float)
        whole = boxes_to_mask(boxes.tolist(), *data.sizes[i]).astype(bool)
        for text in part.loc[part["kind"] == "mask", "rle"]:
            whole |= decode_mask(text)
        return whole

    return mask


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
        of_class = [
            Trials(cls, np.asarray(getattr(r, name), dtype=float), codes[getattr(r, rows_of)])
            for cls, r in results.items()
        ]
        rows += trial_rows(metric, of_class, clusters, level, note)
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
        rows.append(metric_value(column, "pixel_auroc", Interval(float(value), low, high)))
    return rows

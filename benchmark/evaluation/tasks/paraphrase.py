"""Share of decisions that flip where a prompt says the same in other words (PSF-Med counts such answers).

Decisions are made at the threshold that gives the house prompt the specificity `statistics.specificity` on
held-out images. As a control the image is replaced by one of another patient: a score that reads the wording
rather than the image flips as often in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmark.core.hashing import derive_seed, hash_strings
from benchmark.core.tasks import TASKS, TaskContext, TaskResult
from benchmark.evaluation.evaluate import finish
from benchmark.evaluation.operating_point import OperatingTask, operating_points
from benchmark.evaluation.statistics.influence import patient_codes
from benchmark.evaluation.statistics.trials import Trials
from benchmark.evaluation.trial_rows import trial_rows
from benchmark.prompts.class_prompts import PARAPHRASES, display_name

if TYPE_CHECKING:
    from benchmark.core.settings import StatisticsConfig
    from benchmark.evaluation.evaluation_data import EvaluationData
    from benchmark.evaluation.trial_rows import Rows
    from benchmark.prompts.class_prompts import PromptSet
    from methods.base import Method

TEMPLATES = (
    *PARAPHRASES,
    "This image shows {}",
    "There are signs of {}",
    "{} can be seen in this radiograph",
)
"""The house prompt first, then its paraphrases."""
BY_CLASS = ("flips_by_wording", "flips_by_image")


@TASKS.register("paraphrase")
class Paraphrase(OperatingTask):
    name = "paraphrase"
    title = "Paraphrase: decisions that flip with the wording, and with the image as a control"
    headlines = ("flips_by_wording", "flips_by_image")
    shown = ("flips_by_wording", "flips_by_wording_refitted", "flips_by_image")
    order = 5

    def decide(
        self,
        method: Method,
        data: EvaluationData,
        other: EvaluationData,
        prompts: PromptSet,
        given: TaskContext,
    ) -> TaskResult | None:
        texts = wordings(data)
        store = data.encode(texts)
        features = store.get(store.rows(texts))
        shape = (-1, len(TEMPLATES), len(data.chosen.classes))
        held_out, scores = (
            given.score(method, own.images, own.rows, features).reshape(shape) for own in (other, data)
        )
        if given.helper:
            return None
        labels, specificity = other.chosen.labels, given.statistics.specificity
        points = np.stack(
            [operating_points(held_out[:, k], labels, specificity) for k in range(len(TEMPLATES))]
        )
        known = ~np.isnan(points[0])
        if not known.any():
            return None
        classes = [name for name, own in zip(data.chosen.classes, known, strict=True) if own]
        codes, clusters, grouped = patient_codes(data.chosen.patients, len(data))
        rows = flip_rows(
            scores[:, :, known],
            points[:, known],
            another_patient(data.chosen.frame["image_id"].tolist(), codes),
            classes,
            codes,
            clusters,
            given.statistics.level,
        )
        return TaskResult(finish(rows, grouped), f"{len(TEMPLATES)} templates")

    def reads(self, data: EvaluationData, statistics: StatisticsConfig) -> dict[str, str]:
        """The wordings too."""
        return {**super().reads(data, statistics), "wordings": hash_strings(wordings(data))}


def wordings(data: EvaluationData) -> list[str]:
    """The classes in every template, template by template."""
    names = [display_name(data.card, name) for name in data.chosen.classes]
    return [template.replace("{}", name) for template in TEMPLATES for name in names]


def another_patient(images: list[str], codes: np.ndarray) -> np.ndarray:
    """(N,) an image of another patient for each, by a hash of the ids; -1 where there is no other patient."""
    drawn = [(derive_seed(0, "swap", name), name) for name in images]
    order = np.array(sorted(range(len(images)), key=drawn.__getitem__))
    found = np.full(len(images), -1)
    for step in range(1, len(images)):
        left = np.flatnonzero(found[order] < 0)
        if not len(left):
            break
        partner = order[(left + step) % len(order)]
        apart = codes[partner] != codes[order[left]]
        found[order[left[apart]]] = partner[apart]
    return found


def flip_rows(
    scores: np.ndarray,
    points: np.ndarray,
    swapped: np.ndarray,
    classes: list[str],
    codes: np.ndarray,
    clusters: int,
    level: float,
) -> Rows:
    """Shares of decisions of image and class that differ from that of the house prompt, by class and macro.

    `flips_by_wording`: over the paraphrases, at the house prompt's threshold; `flips_by_wording_refitted`: at
    each paraphrase's own threshold of the same specificity; `flips_by_any_wording`: where at least one
    paraphrase differs; `flips_by_image`: with the image of another patient. `calls_lost_by_wording`,
    `calls_lost_by_image`: of the house prompt's positive calls.

    scores: (N, K, C), the house prompt first. points: (K, C) thresholds. swapped: (N,) other image, -1: none.
    """
    house = scores[:, 0] > points[0]
    fixed = scores[:, 1:] > points[0]
    flips = fixed != house[:, None]
    refitted = (scores[:, 1:] > points[1:]) != house[:, None]
    has = swapped >= 0
    other = house[swapped]
    everywhere = np.ones_like(house)
    apart = np.broadcast_to(has[:, None], house.shape)
    rows: Rows = []
    for metric, share, used in (
        ("flips_by_wording", flips.mean(axis=1), everywhere),
        ("flips_by_wording_refitted", refitted.mean(axis=1), everywhere),
        ("flips_by_any_wording", flips.any(axis=1), everywhere),
        ("flips_by_image", other != house, apart),
        ("calls_lost_by_wording", flips.mean(axis=1), house),
        ("calls_lost_by_image", other != house, apart & house),
    ):
        groups = [
            Trials(name, share[used[:, c], c].astype(float), codes[used[:, c]])
            for c, name in enumerate(classes)
        ]
        found = trial_rows(metric, groups, clusters, level, "")
        rows += [r for r in found if metric in BY_CLASS or r.cls == "macro"]
    return rows
